"""Replace functions: what stands where a view keeps nothing."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from hf_guidance.views.batch import IMPORTANCE

_Function = TypeVar("_Function")


class Replace(Protocol):
    """What stands where a view keeps nothing: a function, or a frozen dataclass that is called like one.

    It is called as ``replace(features, importance)``. One that has the attribute ``sees_places`` (set by the decorator
    `sees_places`) also gets the keywords ``real`` and ``replaced``. An attribute ``column`` names the batch column of
    the importance, if that is not "importance".

    Args:
        features: (images, channels, *space), the activation at the view's layer.
        importance: (images, *space) in [0, 1]; None where the batch has no such column.

    Returns:
        The fill, a tensor that broadcasts against the features.
    """

    def __call__(self, features: Tensor, importance: Tensor | None, /) -> Tensor:
        """Give the fill."""


def sees_places(replace: _Function) -> _Function:
    """Declare that a Replace function reads which places are padding or are replaced.

    It then gets two keywords. ``real``, (images, *space) bool, is False at padding; None where there is no padding.
    ``replaced``, (images, *space) bool, is True where the view replaces; None where its copies differ or its keep is soft.
    """
    replace.sees_places = True  # type: ignore[attr-defined]
    return replace


def of_each_image(replace: _Function) -> _Function:
    """Declare that a Replace function fills every image from itself alone, so that images may be called apart from others."""
    replace.of_each_image = True  # type: ignore[attr-defined]
    return replace


def takes_from_others(replace: Any) -> bool:
    """Whether the fill of an image may depend on the other images of the batch; yes where `of_each_image` does not deny it."""
    return not getattr(replace, "of_each_image", False)


@lru_cache  # views are made in every step, with the same few functions
def check_replace(replace: Any) -> None:
    """Refuse an object that cannot be called as Replace functions are.

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
            f"replace={name} has the parameters {undeclared}, which are given only to functions that declare them; decorate "
            "it with hf_guidance.views.sees_places."
        )


@of_each_image
def zeros(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with zeros: grey, the mean image, where an image processor subtracts the mean of each channel.

    Without that (``do_normalize=False``) 0 is black; B-cos nets read six channels, x and 1 - x, for which all zeros are no
    image: take `Blur` or `OtherImages` there.
    """
    return features.new_zeros(())


@of_each_image
def negative_ones(features: Tensor, importance: Tensor | None) -> Tensor:
    """Fill with -1 (arXiv 2206.11212, the default Replace function)."""
    return features.new_full((), -1.0)


@sees_places
def gaussian(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with N(m, s): mean and unbiased standard deviation of all entries of the batch, without padding."""
    mean, deviation = _moments(features.detach(), real)
    return torch.randn_like(features.detach()) * deviation + mean


@sees_places
def gaussian_noise(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with the features plus N(0, s), s the unbiased standard deviation of all entries of the batch, without padding.

    The Replace function of the baseline Singla et al. in the code of arXiv 2206.11212.
    """
    _, deviation = _moments(features.detach(), real)
    return features + torch.randn_like(features.detach()) * deviation


@sees_places
def marginal(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill every place with the features of a random place of the batch (one permutation of all places).

    Padding takes no part and keeps its own features. Of images it permutes single pixels: colours of the batch without
    shapes. `OtherImages` fills with the pixels of one other image.
    """
    places = features.movedim(1, -1)
    flat = places.reshape(-1, places.shape[-1])
    order = torch.randperm(len(flat), device=flat.device) if real is None else _permutation(real.reshape(1, -1))[0]
    return flat[order].reshape(places.shape).movedim(-1, 1)


@of_each_image
@sees_places
def shuffle(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with the image's own replaced places in another order (arXiv 2206.11212, appendix B).

    Per image the replaced places are permuted among themselves, then the channels by one permutation that they share.
    What a view keeps does therefore not appear in what it replaces.

    Note:
        The paper shuffles elements "within and across" boxes; its code does so by these two permutations. All copies of
        a view have the same fill, so in a view of several copies (and where the keep is soft) all places take part,
        also those that are kept.
    """
    flat = features.flatten(2)
    return _shuffled(flat, _among(flat, real, replaced)).reshape(features.shape)


@of_each_image
@sees_places
def shuffle_places(
    features: Tensor, importance: Tensor | None, real: Tensor | None = None, replaced: Tensor | None = None
) -> Tensor:
    """Fill with the image's own replaced places in another order, each with its channels as they were (arXiv 1910.00199).

    Per image the replaced places are permuted among themselves, so that the values of the background stay and its shapes go.
    Padding keeps its own features. In a view of several copies, and where the keep is soft, all places take part.
    """
    flat = features.flatten(2)
    order = _permutation(_among(flat, real, replaced))
    return flat.gather(2, order[:, None].expand_as(flat)).reshape(features.shape)


@of_each_image
@dataclass(frozen=True)
class ShuffleImportant:
    """The shuffle of the code of arXiv 2206.11212, which edits the important places and leaves the others as they are.

    Per image the places with ``importance > threshold`` are permuted among themselves, then the channels by one
    permutation that they share. The code edits the places that its paper says to keep, so a view with this function
    must keep the rest.

    Args:
        threshold: Important is ``importance > threshold``.
        column: Column with human importance.

    Example:
        >>> view = View(Important(invert=True), ShuffleImportant())
    """

    threshold: float = 0.5
    column: str = IMPORTANCE

    def __call__(self, features: Tensor, importance: Tensor | None) -> Tensor:
        """Give the fill, (images, channels, *space); places that are not important hold their own features.

        Raises:
            ValueError: ``importance`` is None.
        """
        if importance is None:
            raise ValueError(f"ShuffleImportant() needs the column {self.column!r}; or take shuffle, which needs none.")
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


def _among(flat: Tensor, *masks: Tensor | None) -> Tensor:
    # (images, places) bool: the places of flat (images, channels, places) that are True in every mask that is given.
    among = torch.ones_like(flat[:, 0], dtype=torch.bool)
    for mask in masks:
        among = among if mask is None else among & mask.flatten(1)
    return among


def _shuffled(flat: Tensor, among: Tensor) -> Tensor:
    # flat (images, channels, places), among (images, places) bool: permute these places, then their channels.
    moved = flat.gather(2, _permutation(among)[:, None].expand_as(flat))
    channels = torch.rand(flat.shape[:2], device=flat.device).argsort(1)
    mixed = moved.gather(1, channels[:, :, None].expand_as(flat))
    return torch.where(among[:, None], mixed, flat)


def _permutation(among: Tensor) -> Tensor:
    # (lines, n) indices: in every line of ``among`` a random permutation of the True entries; the others stay.
    # Two orders of the entries: True ones first, in order and in random order. The others follow in order in both.
    into = (~among).to(torch.uint8).argsort(dim=1, stable=True)
    keys = torch.rand(among.shape, device=among.device).masked_fill(~among, 2.0)
    return torch.empty_like(into).scatter_(1, into, keys.argsort(dim=1, stable=True))
