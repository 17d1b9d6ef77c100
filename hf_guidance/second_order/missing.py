"""Operations that cannot be differentiated twice: PyTorch's errors about them, and the module that runs one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.second_order.substitution import fast_double_backward

_MESSAGES = (
    re.compile(r"derivative for '?(?:aten::)?(?P<name>\w+?)'? is not implemented"),
    re.compile(r"double backwards? on (?P<name>\w+) (?:is )?not supported"),
    re.compile(r"[Dd]ouble backwards? is not supported for (?P<name>[\w ]+?)(?: due| operations|[.,])"),
    re.compile(r"differentiate twice a function that was marked with @?(?P<name>once_differentiable)"),
)


_ONCE = "once_differentiable"


class _Found(Exception):
    """Ends a call as soon as the module is known."""


def without_double_backward(error: BaseException) -> str | None:
    """The operation that an error of PyTorch says cannot be differentiated twice, as "hardsigmoid"; None for other errors."""
    text = str(error)
    found = next((match for pattern in _MESSAGES if (match := pattern.search(text))), None)
    if found is None or not isinstance(error, RuntimeError):
        return None
    return found["name"].strip("_").removesuffix("_backward")


def module_without_double_backward(model: nn.Module, operation: str, call: Callable[[], Any]) -> str | None:
    """The path of the innermost module that runs an operation without double backward.

    Every module is differentiated twice by itself where the call passes it, so the call may take long; it ends at the first
    module that fails by this operation.

    Args:
        model: The unwrapped model.
        operation: As ``without_double_backward`` gives it.
        call: Calls the model in the way that failed, with gradients enabled.

    Returns:
        The path, "" for the model itself; None where no module fails alone.
    """
    path: str | None = None
    trying = False

    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            nonlocal path, trying
            if trying:
                return
            trying = True
            try:
                if _fails(module, args, kwargs, operation):
                    path = name
                    raise _Found
            finally:
                trying = False

        return hook

    handles = [m.register_forward_hook(hook_of(name), with_kwargs=True) for name, m in model.named_modules()]
    try:
        call()
    except _Found:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return path


def _fails(module: nn.Module, args: Any, kwargs: Any, operation: str) -> bool:
    leaves: list[Tensor] = []
    try:
        with fast_double_backward():  # also where the call around waits: what is substituted does not fail
            output = module(*_leaves_of(args, leaves), **_leaves_of(kwargs, leaves))
        read = [tensor for tensor in _tensors(output) if tensor.requires_grad]
        if not (leaves and read):
            return False
        total = torch.stack([tensor.float().square().sum() for tensor in read]).sum()
        first = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        again = [g.float().square().sum() for g in first if g is not None and g.requires_grad]
        if operation == _ONCE:
            return any(name == "torch::autograd::Error" for tensor in again for name in _nodes_of(tensor))
        if again:
            torch.autograd.grad(torch.stack(again).sum(), leaves, allow_unused=True)
    except Exception as error:  # a module that cannot be tried alone is not the one that is looked for
        return without_double_backward(error) == operation
    return False


def _nodes_of(tensor: Tensor) -> Iterator[str]:
    # The node that raises the error of once_differentiable leads to no leaf, so autograd.grad passes it by, unlike backward().
    seen: set[Any] = set()
    waiting: list[Any] = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node.name()
            waiting += [following for following, _ in node.next_functions]


def _leaves_of(value: Any, leaves: list[Tensor]) -> Any:
    # The same arguments, with leaves of their own in place of tensors that are differentiated.
    if isinstance(value, Tensor) and value.is_floating_point():
        leaves.append(value.detach().clone().requires_grad_())
        return leaves[-1] * 1  # no leaf, so that a module may write into it
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_leaves_of(entry, leaves) for entry in value)
    if type(value) is dict:
        return {name: _leaves_of(entry, leaves) for name, entry in value.items()}
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, list | tuple | Mapping):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(entry)


@contextmanager
def named(model: nn.Module, call: Callable[[], Any]) -> Iterator[None]:
    """Inside, PyTorch's error about an operation without double backward becomes one that names it, its module and the fix.

    Args:
        model: The unwrapped model.
        call: Calls the model again in the same way, to find the module.

    Raises:
        ValueError: In place of such an error; other errors pass.
    """
    try:
        yield
    except RuntimeError as error:
        operation = without_double_backward(error)
        if operation is None:
            raise
        with torch.enable_grad():
            path = module_without_double_backward(model, operation, call)
        raise ValueError(_message(model, operation, path)) from error


def _message(model: nn.Module, operation: str, path: str | None) -> str:
    if path is None:
        where = f"in {type(model).__name__}"
    else:
        kind = type(model.get_submodule(path)).__name__
        where = f"in the module {path!r} ({kind})" if path else f"in the forward of {kind} itself"
    return (
        f"the operation {operation!r} {where} has no double backward in PyTorch {torch.__version__}, which a term on "
        "attributions needs of everything between its layer and the logits: explain a layer behind it, such as 'final', or "
        "replace it by a module of operations that can be differentiated twice."
    )
