"""How a step is compiled, as TrainingArguments or ``accelerate launch`` ask for it; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import TorchDynamoPlugin
from torch import Tensor, nn
from torch._dynamo.backends.registry import lookup_backend

from hf_guidance.common.checkpointing import SWITCHES
from hf_guidance.guidance import Guidance
from hf_guidance.views import Coalitions

_BACKENDS = ("inductor", "aot_eager", "eager")
# They record CUDA graphs, which write into the tensors of the last step.
_RECORDING_MODES = ("reduce-overhead", "max-autotune")
_OFF = "leave torch_compile off"


@dataclass(frozen=True)
class CompileSettings:
    """A compiler with its options.

    Attributes:
        backend: One of "inductor", "aot_eager" and "eager", as for torch.compile; the last two only trace.
        mode: As for torch.compile, without those that record CUDA graphs; None for the default.
        options: Options of inductor.
    """

    backend: str = "inductor"
    mode: str | None = None
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, plugin: Any) -> CompileSettings | None:
        """What Accelerate's plugin says; None where nothing is to be compiled.

        Raises:
            ValueError: Another backend, dynamic shapes, regions, or a mode that records CUDA graphs.
        """
        name = getattr(plugin, "backend", None)
        backend = str(getattr(name, "value", name or "no")).lower()
        if backend == "no" or getattr(plugin, "disable", False):
            return None
        mode = getattr(plugin, "mode", None)
        mode = None if mode in (None, "default") else str(mode)
        if backend not in _BACKENDS:
            raise ValueError(
                f"torch_compile_backend={backend!r} does not compile a guided step; choose one of {list(_BACKENDS)}, or {_OFF}."
            )
        if mode in _RECORDING_MODES:
            raise ValueError(
                f"torch_compile_mode={mode!r} records CUDA graphs, which overwrite the gradients of the last step; use "
                f"'max-autotune-no-cudagraphs' or the default, or {_OFF}."
            )
        if mode is not None and backend != "inductor":
            raise ValueError(f"torch_compile_mode={mode!r} is one of inductor's, not of {backend!r}; leave it out.")
        if getattr(plugin, "dynamic", False):
            raise ValueError(
                "torch_compile with dynamic shapes: a guided step is compiled for each shape of its batches; leave dynamic "
                f"out, or {_OFF}."
            )
        if getattr(plugin, "use_regional_compilation", False):
            raise ValueError(
                "use_regional_compilation compiles blocks of the model, and compiled graphs have no double backward; leave it "
                f"out, and the whole step is compiled, or {_OFF}."
            )
        return cls(backend, mode, tuple(sorted((getattr(plugin, "options", None) or {}).items())))

    def compiler(self, graph: Any, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
        """Compile a graph of operations for inputs of these forms."""
        call: Callable[..., Sequence[Tensor]]
        if self.backend == "inductor":
            import torch._inductor

            by_mode = torch._inductor.list_mode_options(self.mode) if self.mode else {}
            given: list[Any] = list(inputs)
            call = torch._inductor.compile(graph, given, options=by_mode | dict(self.options))  # type: ignore[assignment]
        else:
            call = lookup_backend(self.backend)(graph, inputs)  # type: ignore[assignment]
        return call


def take_settings(accelerator: Any) -> CompileSettings | None:
    """How to compile, taken from Accelerate, whose accelerator then leaves the model as it is.

    The state of Accelerate is one for the whole process, and other trainers find there what it was.

    Raises:
        ValueError: As ``CompileSettings.of``.
    """
    found = CompileSettings.of(getattr(accelerator.state, "dynamo_plugin", None))
    if found is not None:
        accelerator.state = _Uncompiled(_from_accelerator=True)
    return found


class _Uncompiled(AcceleratorState):  # type: ignore[misc]
    """The state of the process, as one accelerator sees it: no compiler."""

    @property
    def dynamo_plugin(self) -> TorchDynamoPlugin:
        """One that does nothing."""
        return TorchDynamoPlugin(backend="no")


def refuse_with_compiled_step(args: Any, model: nn.Module, accelerator: Any) -> None:
    """Raise for what is not exact, or not possible, in a compiled step.

    Raises:
        ValueError: FSDP, gradient checkpointing, fp16; the message names the reason and the fix.
    """
    state = accelerator.state
    refuse_recomputing(model, any(getattr(args, f"{kind}_checkpointing", False) for kind in ("gradient", "activation")))
    reasons = {
        "FSDP": (
            getattr(state, "fsdp_plugin", None) is not None,
            "the graph of a step reads whole weights, and FSDP2 gathers them in hooks of the model's own calls",
        ),
        "fp16": (
            str(getattr(accelerator, "mixed_precision", "no")) == "fp16",
            "the gradients are computed together with the loss, before it is scaled; use bf16=True",
        ),
    }
    for setting, (found, reason) in reasons.items():
        if found:
            raise ValueError(f"torch_compile=True does not work with {setting}: {reason}, or {_OFF}.")


def refuse_terms(guidance: Guidance) -> None:
    """Raise for a term whose coalitions are drawn until they are distinct, or whose weight is another one at every step.

    Args:
        guidance: The terms.

    Raises:
        ValueError: There is such a term; names it.
    """
    for name, term in guidance.items():
        if term.schedule is not None and term.schedule.changes_every_step:
            raise ValueError(
                f"torch_compile=True does not work with the schedule of the term {name!r}: weights are part of the graph of a "
                "step, and this one changes at every step; give begin and end the same value, which makes two graphs, or "
                f"{_OFF}."
            )
        if any(isinstance(view.keep, Coalitions) for view, _ in term.objective.needs()):
            raise ValueError(
                f"torch_compile=True does not work with the term {name!r}: the coalitions of KernelSHAP and AverageEffect are "
                "drawn until they are distinct, and a graph would fix how often; use another attribution, such as Gradient, "
                f"or {_OFF}."
            )


def refuse_recomputing(model: nn.Module, asked: bool = False) -> None:
    """Raise for gradient checkpointing.

    Args:
        model: The model, whose modules may have it switched on.
        asked: Whether it will be switched on.

    Raises:
        ValueError: It is on, or will be.
    """
    if asked or any(vars(module).get(name) is True for module in model.modules() for name in SWITCHES):
        raise ValueError(
            "torch_compile=True does not work with gradient checkpointing: its second forward would draw other numbers for "
            f"dropout, and the compiler decides itself what is kept; turn it off, or {_OFF}."
        )


def dense_convolution(model: nn.Module) -> str | None:
    """The path of a convolution of all channels at overlapping places, as of a ResNet; None where there is none.

    Those of single channels (ConvNeXt) and of patches (ViT) are left out: on a CPU only the others make a compiled step slower.
    """
    for path, module in model.named_modules():
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.groups > 1:
            continue
        if tuple(module.kernel_size) != tuple(module.stride):
            return str(path)
    return None
