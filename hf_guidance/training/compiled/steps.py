"""The compiled steps of a training run: one graph for each kind of step that comes again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.utils import logging

from hf_guidance.common.wrappers import unwrapped
from hf_guidance.guidance import Guidance
from hf_guidance.training.compiled.graph import Step, StepGraph
from hf_guidance.training.compiled.key import differing, step_key
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.settings import CompileSettings, dense_convolution, refuse_recomputing

logger = logging.get_logger(__name__)

MOST_GRAPHS = 8  # compiling takes minutes, and a graph stays in memory
_MOST_KINDS = 256
_KINDS_WITHOUT_GRAPH = 32  # after so many, none came twice


class CompiledSteps:
    """Compiles a step when its kind comes for the second time, and then does all of this kind with the graph.

    The first step of a kind is eager: the heads and layouts of layers are found there, and a last, smaller batch costs no
    compiling. Kinds beyond ``MOST_GRAPHS`` stay eager, which is said once.

    Args:
        settings: How to compile.
    """

    def __init__(self, settings: CompileSettings) -> None:
        self.settings = settings
        self._graphs: dict[Hashable, StepGraph] = {}
        self._met: set[int] = set()
        self._last: Hashable = None

    def forget(self) -> None:
        """Begin anew, as with a new model."""
        self._graphs, self._met = {}, set()

    def graph_of(self, module: nn.Module, guidance: Guidance, parts: StepParts, step: Step) -> StepGraph | None:
        """The graph of a step; None where the step is to run eagerly.

        Args:
            module: The unwrapped model.
            guidance: The terms of the step.
            parts: Its batches.
            step: What to compile.

        Raises:
            ValueError: The step cannot be compiled; says what failed, and the fix. Or blocks of the model are checkpointed.
        """
        key = step_key(module, guidance, parts)
        if key in self._graphs:
            return self._graphs[key]
        if len(self._graphs) >= MOST_GRAPHS or len(self._met) >= _MOST_KINDS:
            logger.warning_once(
                f"torch_compile: the steps are of many kinds; {len(self._graphs)} are compiled, and steps of other kinds run "
                "eagerly. A kind is the sizes of a batch, its number of annotated images, the guidance and the settings of the "
                "model: give all images an annotation or none, dataloader_drop_last=True, and images of one size."
            )
            return None
        if hash(key) not in self._met:
            self._met.add(hash(key))
            if len(self._met) == _KINDS_WITHOUT_GRAPH and not self._graphs:
                _warn_of_kinds(differing(self._last, key))
            self._last = key
            return None
        if not self._graphs:
            _warn_of_convolutions(module)
        self._graphs[key] = self._compiled(module, parts, step)
        return self._graphs[key]

    def _compiled(self, module: nn.Module, parts: StepParts, step: Step) -> StepGraph:
        refuse_recomputing(module)  # it may have been switched on since the trainer was made
        try:
            return StepGraph(step, module, parts, self.settings.compiler)
        except Exception as error:
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
            raise ValueError(
                f"torch_compile=True: the guided step of {type(module).__name__} cannot be compiled by "
                f"{self.settings.backend!r} ({type(error).__name__}: {said[:400]}). In a step, Python code must not read "
                "numbers of tensors, draw random numbers outside of torch, or use tensors that are neither of the batch nor "
                "weights or buffers of the model; inductor needs a C++ compiler, such as g++. Leave torch_compile off, and the "
                "step runs as it did the first time."
            ) from error


def _warn_of_kinds(what: str) -> None:
    logger.warning_once(
        f"torch_compile: {_KINDS_WITHOUT_GRAPH} steps were of as many kinds, and none was compiled: a graph does the steps of "
        f"one kind, and the last two differ in {what}. Lists of a batch, as the answers 'yes' and 'no' or which images are "
        "annotated, are what Python decides by, and small batches are more often alike: give all images an annotation or none, "
        "images of one size, a smaller per_device_train_batch_size and gradient_accumulation_steps; or leave torch_compile off."
    )


def _warn_of_convolutions(module: nn.Module) -> None:
    path, device = dense_convolution(module), next(module.parameters()).device.type
    if path is not None and device == "cpu":
        logger.warning_once(
            f"torch_compile on a CPU: {type(module).__name__} has convolutions of all channels, such as {path!r}; with many of "
            "them a compiled guided step is slower than an eager one (of a ResNet-18 1.2 times): leave torch_compile off."
        )


def run_graph(model: nn.Module, graph: StepGraph, parts: StepParts) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and the log entries of a step, by a call of DistributedDataParallel's wrapper if the model has one.

    Args:
        model: The model, possibly wrapped: gradients are then averaged as after any call of the wrapper.
        graph: The graph of the step.
        parts: Its batches.
    """
    module: nn.Module = unwrapped(model)
    if module is model:
        return graph(module, parts)
    with _forward_is(module, lambda: graph(module, parts)):
        # Without any argument, the wrapper of a GPU fails.
        found: tuple[Tensor, dict[str, Tensor]] = model(step=True)
    return found


@contextmanager
def _forward_is(module: nn.Module, call: Callable[[], Any]) -> Iterator[None]:
    own = vars(module)
    before = own.get("forward")  # Accelerate's autocast is such an attribute of the model
    own["forward"] = lambda **_: call()
    try:
        yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before
