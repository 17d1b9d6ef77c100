"""Replace functions: what stands where a view keeps nothing."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

_Function = TypeVar("_Function")


class Replace(Protocol):
    """What stands where a view keeps nothing: a function, or a frozen dataclass that is called like one.

    It is called as ``replace(features, importance)``. One that also looks at places says so by an attribute ``sees_places``
    (see `sees_places`) and is told ``real`` and ``replaced`` as keywords. An attribute ``column`` names the column of the
    importance, where it is another than "importance".

    Args:
        features: (images, channels, *space), the activation at the view's layer.
        importance: (images, *space) in [0, 1]; None where the batch has none.

    Returns:
        The fill, a tensor that broadcasts against the features.
    """

    def __call__(self, features: Tensor, importance: Tensor | None, /) -> Tensor:
        """Give the fill."""


def sees_places(replace: _Function) -> _Function:
    """Declare that a Replace function looks at places.

    It then takes the keywords ``real``, (images, *space) bool, False at padding, None where there is no padding; and
    ``replaced``, (images, *space) bool, the places that the view replaces, None where its copies differ or its keep is soft.
    """
    replace.sees_places = True  # type: ignore[attr-defined]
    return replace


@lru_cache  # views are made anew in every step, of few functions
def check_replace(replace: Any) -> None:
    """Refuse what cannot be called as a Replace function is.

    Raises:
        ValueError: ``replace`` is not callable, takes other parameters, or takes those of `sees_places` undeclared.
    """
    declared = getattr(replace, "sees_places", False)
    name = getattr(replace, "__name__", repr(replace))
    try:
        signature = inspect.signature(replace)
        signature.bind(None, None, **({"real": None, "replaced": None} if declared else {}))
    except TypeError as error:
        raise ValueError(
            f"replace={name} cannot be called as replace(features, importance{', real=, replaced=' if declared else ''}) "
            f"({error}); give a function with these parameters, as views.zeros."
        ) from None
    if not declared and (undeclared := sorted({"real", "replaced"} & set(signature.parameters))):
        raise ValueError(
            f"replace={name} has the parameters {undeclared}, which only functions are told that declare it; decorate it with "
            "hf_guidance.views.sees_places."
        )


def zeros(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with zeros: the mean image, where inputs are normalised."""
    return features.new_zeros(())


def negative_ones(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with -1 (arXiv 2206.11212, the default Replace function)."""
    return features.new_full((), -1.0)


@sees_places
def gaussian(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with N(m, s), m and s the mean and unbiased standard deviation over the batch tensor without padding."""
    mean, deviation = _moments(features.detach(), real)
    return torch.randn_like(features.detach()) * deviation + mean


@sees_places
def gaussian_noise(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with the features plus N(0, s), s the unbiased standard deviation over the batch without padding (Singla)."""
    _, deviation = _moments(features.detach(), real)
    return features + torch.randn_like(features.detach()) * deviation


@sees_places
def marginal(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill every place with the features of a random place of the batch (one permutation of all places).

    Padding takes no part and keeps what it holds.
    """
    places = features.movedim(1, -1)
    flat = places.reshape(-1, places.shape[-1])
    order = torch.randperm(len(flat), device=flat.device) if real is None else _permutation(real.reshape(1, -1))[0]
    return flat[order].reshape(places.shape).movedim(-1, 1)


@sees_places
def shuffle(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with the image's own replaced places in another order (arXiv 2206.11212, appendix B).

    Per image one permutation of the places that are replaced among themselves, then one permutation of the channels,
    common to them: what a view keeps does not come back in what it replaces.

    Note:
        The paper shuffles elements "within and across" boxes; the two permutations are how its code does it. A view of
        several copies has one fill, so there (and where the keep is soft) all places take part, kept ones too.
    """
    flat = features.flatten(2)
    among = torch.ones_like(flat[:, 0], dtype=torch.bool)
    for mask in (real, replaced):
        among = among if mask is None else among & mask.flatten(1)
    return _shuffled(flat, among).reshape(features.shape)


@dataclass(frozen=True)
class ShuffleImportant:
    """The shuffle of arXiv 2206.11212's code, which edits the important places and leaves the others as they are.

    Per image one permutation of the places with ``importance > threshold`` among themselves, then one permutation of the
    channels, common to them. It edits what its paper says to keep, so a view with it keeps the rest.

    Args:
        threshold: Important is ``importance > threshold``.
        column: Column with human importance.

    Example:
        >>> view = View(Important(invert=True), ShuffleImportant())
    """

    threshold: float = 0.5
    column: str = "importance"

    def __call__(self, features: Tensor, importance: Tensor | None) -> Tensor:
        """Fill (batch, channels, *space); places that are not important hold their own features.

        Raises:
            ValueError: There is no importance of the images.
        """
        if importance is None:
            raise ValueError(f"ShuffleImportant() needs the column {self.column!r}; use shuffle, which does without.")
        return _shuffled(features.flatten(2), importance.flatten(1) > self.threshold).reshape(features.shape)


def _moments(fixed: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    # Mean and unbiased standard deviation of all entries at real places.
    if real is None:
        return fixed.mean(), fixed.std()
    inside = real[:, None].expand_as(fixed)
    values = fixed.to(torch.promote_types(fixed.dtype, torch.float32))  # sums in half precision overflow
    count = inside.sum()
    mean = torch.where(inside, values, 0).sum() / count.clamp_min(1)
    squares = torch.where(inside, values - mean, 0).square().sum()
    return mean.to(fixed.dtype), (squares / (count - 1).clamp_min(1)).sqrt().to(fixed.dtype)


def _shuffled(flat: Tensor, among: Tensor) -> Tensor:
    # (batch, channels, places), places (batch, places) bool: those change places, then their channels change.
    moved = flat.gather(2, _permutation(among)[:, None].expand_as(flat))
    channels = torch.rand(flat.shape[:2], device=flat.device).argsort(1)
    mixed = moved.gather(1, channels[:, :, None].expand_as(flat))
    return torch.where(among[:, None], mixed, flat)


def _permutation(among: Tensor) -> Tensor:
    # (rows, n) indices: a random permutation of the True entries of every row, the others stay.
    # True entries in order, and in random order; the others follow in order in both, so they stay.
    into = (~among).to(torch.uint8).argsort(dim=1, stable=True)
    keys = torch.rand(among.shape, device=among.device).masked_fill(~among, 2.0)
    return torch.empty_like(into).scatter_(1, into, keys.argsort(dim=1, stable=True))
