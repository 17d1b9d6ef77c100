"""Forward hooks that record the outputs of modules, and edit them for views at a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_guidance.common.outputs import activation_of, tensors_of, with_activation


@contextmanager
def captured(
    model: nn.Module,
    paths: Mapping[str, Callable[[Tensor], Tensor] | None],
    before: Callable[[], None] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Record module outputs inside the ``with`` block.

    Of a module that hands on its input, the recorded tensor is the output alone: its gradient is that of what follows the
    module, without that of other readers of the input.

    Args:
        model: The unwrapped model.
        paths: Module path -> function that edits the output, or None to record the output unchanged.
        before: Called before each of these modules runs.

    Yields:
        Module path -> recorded (edited) tensor, filled by the forward pass inside the block.

    Raises:
        ValueError: Inside the block, if a module puts out no activation (``activation_of``); after it, if a module was not
            called or its output was overwritten in place.
    """
    recorded: dict[str, Tensor] = {}
    versions: dict[str, int] = {}

    def hook_of(path: str, edit: Callable[[Tensor], Tensor] | None) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            original = activation_of(output)
            recorded[path] = tensor = _recordable(original, [*args, *kwargs.values()], edit)
            versions[path] = tensor._version
            return None if tensor is original else with_activation(output, original, tensor)

        return hook

    handles = []
    try:
        for path, edit in paths.items():
            module = model.get_submodule(path)
            handles.append(module.register_forward_hook(hook_of(path, edit), with_kwargs=True))
            if before is not None:
                handles.append(module.register_forward_pre_hook(lambda module, args: before()))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
    for path in paths:
        if path not in recorded:
            raise ValueError(
                f"module {path!r} did not run in the forward pass; choose a layer on the way to the logits."
            )
        if recorded[path]._version != versions[path]:
            raise ValueError(
                f"the output of {path!r} is overwritten in place by the next module (an in-place activation?); choose "
                "the module behind it, or build the model with inplace=False."
            )


def _recordable(tensor: Tensor, inputs: list[Any], edit: Callable[[Tensor], Tensor] | None) -> Tensor:
    if any(tensor is given for given in tensors_of(inputs)):
        # Handed on by an Identity, say, it may have been read before, by another branch.
        tensor = tensor.view_as(tensor)
    if edit is not None:
        tensor = edit(tensor)
    if torch.is_grad_enabled() and not tensor.requires_grad:
        # All layers before it are frozen, so the activation itself becomes the leaf that is differentiated.
        tensor = tensor.detach().requires_grad_()
    return tensor
