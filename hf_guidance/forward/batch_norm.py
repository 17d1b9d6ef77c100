"""BatchNorm in training mode: whether it couples the images of a call, and how to keep its running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def couples_images(module: nn.Module) -> bool:
    """Whether the images of a call affect each other; then calls can be neither split by images nor stacked."""
    return any(isinstance(m, _BatchNorm) and m.training for m in module.modules())


def freeze(module: nn.Module) -> None:
    """Put every BatchNorm into evaluation mode: running statistics are used, but not updated."""
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval()


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """For calls on copies of images: they are normalised by their own statistics, but running statistics stay."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
