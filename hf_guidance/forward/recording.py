"""A model call whose layers are recorded, and whose operations can be differentiated as often as will be needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from hf_guidance.forward.capture import captured
from hf_guidance.second_order import fast_double_backward, norms_in_one_layout
from hf_guidance.views.layers import is_input


@contextmanager
def recording(
    model: nn.Module,
    edits: Mapping[str, Callable[[Tensor], Tensor] | None],
    layers: Sequence[str],
    leaf: Tensor | None,
    *,
    images: int,
    twice: bool,
) -> Iterator[dict[str, Tensor]]:
    """Call the model inside the ``with`` block.

    What runs before the first recorded module is not differentiated again: unless the input is explained, it runs as in
    a plain forward pass, but for attention that a trainer has switched.

    Args:
        model: The unwrapped model.
        edits: The modules that are recorded, see ``captured``; among them those of all layers that are explained.
        layers: What is explained, by the names of the layers.
        leaf: The input, if it is explained.
        images: How many images the call holds.
        twice: Whether gradients at the layers will be differentiated again.

    Yields:
        Module path -> recorded (edited) tensor.
    """
    if not twice:
        with norms_in_one_layout(model, images), captured(model, edits) as recorded:
            yield recorded
        return
    later = not any(map(is_input, layers))
    with fast_double_backward(leaf, later=later) as begin, captured(model, edits, begin) as recorded:
        yield recorded
