"""Gradient and input of a BatchNorm in one memory layout, where PyTorch's CPU kernel takes one for the other."""

from __future__ import annotations

from torch import Tensor


def in_one_layout(dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Bring both to the contiguous layout if there is one image and their strides differ.

    The stride of the images says nothing where there is one. A view such as ``(places, channels).T``, of attention behind
    the norm, then counts as channels last in one check of ``native_batch_norm_backward`` and as contiguous in the next, and
    its numbers are read in the wrong order (torch 2.15, CPU, all dtypes).

    Args:
        dy: The gradient at the output, (images, channels, ...).
        x: The input, of the same shape.
    """
    if len(x) > 1 or dy.stride() == x.stride():
        return dy, x
    return dy.contiguous(), x.contiguous()
