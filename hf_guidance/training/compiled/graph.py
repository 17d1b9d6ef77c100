"""One step as one graph: the loss of the guidance and its gradients at all weights, traced once and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from hf_guidance.common.deferred_checks import checks_deferred
from hf_guidance.training.compiled.parts import StepParts
from hf_guidance.training.compiled.recording import recorded, written

Step = Callable[[nn.Module, StepParts], tuple[Tensor, dict[str, Tensor]]]
Compiler = Callable[[Any, list[Tensor]], Callable[..., Sequence[Tensor]]]


class StepGraph:
    """The graph of a step, for all steps with the same key.

    The step runs twice on tensors without numbers while its operations are recorded, autograd's included: the inner
    gradient, its second derivative and the gradients at the weights. Weights, buffers and the tensors of the batch are inputs
    of the graph; BatchNorm's statistics are written into the buffers, and random numbers are drawn anew by every call.

    Args:
        step: Computes the loss and the log entries with a model.
        module: The unwrapped model.
        parts: The batches of a step.
        compiler: Compiles a graph for example inputs.

    Raises:
        Exception: What Python, torch or the compiler raise where the step cannot be traced or compiled.
    """

    def __init__(self, step: Step, module: nn.Module, parts: StepParts, compiler: Compiler) -> None:
        self._logs: list[str] = []
        self._checks: list[str] = []
        self._reached: list[str] = []  # the weights that have a gradient
        inputs = _inputs(module, parts.with_tensors([_alone(tensor) for tensor in parts.tensors()]))
        with torch.enable_grad():
            graph, self._constants = recorded(self._recorded(step, module, parts), inputs)
        with torch.no_grad():
            self._call = compiler(graph, inputs)

    def _recorded(self, step: Step, module: nn.Module, parts: StepParts) -> Callable[..., list[Tensor]]:
        bound = _Bound(step, module)
        weights, buffers = dict(bound.named_parameters()), dict(bound.named_buffers())
        device = next(iter(weights.values())).device.type

        def whole(*inputs: Tensor) -> list[Tensor]:
            given = dict(zip([*weights, *buffers], inputs, strict=False))
            leaves = {name: nn.Parameter(given[name], weight.requires_grad) for name, weight in weights.items()}
            trained = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
            batches = parts.with_tensors(list(inputs[len(given) :]))
            with checks_deferred() as checks:
                loss, logs = functional_call(bound, given | leaves, (batches,))
            with torch.autocast(device, enabled=False):  # as in an ordinary step, whose backward runs outside
                found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
            gradients = {name: g for name, g in zip(trained, found, strict=True) if g is not None}
            self._logs, self._checks = list(logs), [message for _, message in checks]
            self._reached = [name.removeprefix(_Bound.PREFIX) for name in gradients]
            return [loss.detach(), *logs.values(), *(wrong for wrong, _ in checks), *gradients.values()]

        return whole

    def __call__(self, module: nn.Module, parts: StepParts) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, whose backward gives the weights their gradients, and the log entries.

        Raises:
            ValueError: A value of the batch is wrong, as a label beyond the classes; on a GPU a RuntimeError of the device.
                Or an index that is a constant of the graph was written.
        """
        for constant, writes in self._constants:
            if written(constant) != writes:
                raise ValueError(
                    f"torch_compile=True: a tensor of shape {tuple(constant.shape)} and dtype {constant.dtype} was written, "
                    "and it is a constant of the compiled step; make it a buffer of the model, or leave torch_compile off."
                )
        with torch.no_grad():
            loss, *rest = self._call(*_inputs(module, parts))
        behind = len(self._logs) + len(self._checks)
        for message, wrong in zip(self._checks, rest[len(self._logs) : behind], strict=True):
            if wrong.device.type == "cuda":  # a step does not wait for the device
                torch._assert_async(~wrong, message)
            elif wrong:
                raise ValueError(message)
        weights = dict(module.named_parameters())
        logs = dict(zip(self._logs, rest, strict=False))
        recorded: Tensor = _Computed.apply(loss, rest[behind:], *(weights[name] for name in self._reached))
        return recorded, logs


class _Bound(nn.Module):
    """The step as the forward of a module, so that torch puts tensors in place of the model's weights."""

    PREFIX = "model."

    def __init__(self, step: Step, model: nn.Module) -> None:
        super().__init__()
        self.step, self.model = step, model

    def forward(self, parts: StepParts) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and the log entries.

        Raises:
            ValueError: The step replaced a buffer, which would then never move: the graph writes into those that it was given.
        """
        before = dict(self.model.named_buffers())
        found = self.step(self.model, parts)
        after = dict(self.model.named_buffers())
        for name in before | after:
            if before.get(name) is not after.get(name):
                raise ValueError(
                    f"buffer {name!r} of the model is replaced in a step, and a graph does not see it move; write into it, as "
                    f"by {name.rpartition('.')[2]}.copy_(...)"
                )
        return found


class _Computed(Function):
    """A loss whose gradients are already there."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Sequence[Tensor], *weights: Tensor) -> Tensor:
        """The loss; ``gradients`` are those at ``weights``."""
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Any, ...]:
        """The gradients, times that of the loss: the share of an accumulated batch."""
        return None, None, *torch._foreach_mul(ctx.gradients, given)


def _inputs(module: nn.Module, parts: StepParts) -> list[Tensor]:
    own = [*module.named_parameters(), *module.named_buffers()]
    return [*(tensor.detach() for _, tensor in own), *parts.tensors()]


def _alone(tensor: Tensor) -> Tensor:
    # Two columns that are one tensor would be one input of the graph, and in the next batch they may differ.
    alone = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    return alone.requires_grad_(tensor.requires_grad)
