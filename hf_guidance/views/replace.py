"""Replace functions: what stands where a view keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Replace = Callable[[Tensor, Tensor | None], Tensor]
"""(features, importance) to a fill that broadcasts against the features; importance is (batch, *space) or None."""


def zeros(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with zeros: the mean image, where inputs are normalised."""
    return features.new_zeros(())


def negative_ones(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with -1 (arXiv 2206.11212, the default Replace function)."""
    return features.new_full((), -1.0)


def gaussian(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with N(m, s), m and s the mean and unbiased standard deviation over the whole batch tensor."""
    fixed = features.detach()
    return torch.randn_like(fixed) * fixed.std() + fixed.mean()


def gaussian_noise(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with the features plus N(0, s), s the unbiased standard deviation over the batch tensor (Singla et al.)."""
    fixed = features.detach()
    return features + torch.randn_like(fixed) * fixed.std()


def marginal(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill every place with the features of a random place of the batch (one permutation of all places)."""
    places = features.movedim(1, -1)
    flat = places.reshape(-1, places.shape[-1])
    return flat[torch.randperm(len(flat), device=flat.device)].reshape(places.shape).movedim(-1, 1)


def shuffle(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with the image's own features in another order: one random permutation of its places per image."""
    flat = features.flatten(2)
    order = torch.rand(flat.shape[0], 1, flat.shape[2], device=flat.device).argsort(-1)
    return flat.gather(2, order.expand_as(flat)).reshape(features.shape)


@dataclass(frozen=True)
class ShuffleImportant:
    """The shuffle of arXiv 2206.11212's code, which edits the important places and leaves the others as they are.

    Per image one permutation of the places with ``importance > threshold`` among themselves, then one permutation of the
    channels, common to them. It edits what its paper says to keep, so a view with it keeps the rest.

    Example:
        >>> view = View(Important(invert=True), ShuffleImportant())
    """

    threshold: float = 0.5

    def __call__(self, features: Tensor, importance: Tensor | None) -> Tensor:
        """Fill (batch, channels, *space); places that are not important hold their own features.

        Raises:
            ValueError: There is no importance of the images.
        """
        if importance is None:
            raise ValueError("ShuffleImportant() needs the column 'importance'; use shuffle, which does without.")
        flat = features.flatten(2)
        important = importance.flatten(1) > self.threshold
        # Important places in order, and in random order; the others follow in order in both, so they stay.
        into = (~important).to(torch.uint8).argsort(dim=1, stable=True)
        keys = torch.rand(important.shape, device=flat.device).masked_fill(~important, 2.0)
        order = torch.empty_like(into).scatter_(1, into, keys.argsort(dim=1, stable=True))
        moved = flat.gather(2, order[:, None].expand_as(flat))
        channels = torch.rand(flat.shape[:2], device=flat.device).argsort(1)
        mixed = moved.gather(1, channels[:, :, None].expand_as(flat))
        return torch.where(important[:, None], mixed, flat).reshape(features.shape)
