"""Replace functions for the pixels of images: blur, and the pixels of other images of the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.views.batch import IMPORTANCE
from hf_guidance.views.replace import of_each_image

_WIDEST = 1000.0  # pixels; a file of a stranger must not ask for a kernel that fills the memory
_TRUNCATED = 4.0  # standard deviations at which the kernel ends


@of_each_image
@dataclass(frozen=True)
class Blur:
    """Fill with the image itself, blurred: ``sum_o g(o) x[i + o]`` along each axis, ``g(o) ~ exp(-o^2 / (2 sigma^2))``.

    The kernel ends at 4 sigma and sums to 1; at the border the image is reflected without repeating the edge pixel.
    Shapes and texture go, colours stay: where a background tells the class by its colour, a blurred one still tells it.
    What is kept colours what is replaced within some sigma of it.

    Args:
        sigma: Standard deviation in places of the view's layer: pixels at "input". Above 0, at most 1,000.

    Raises:
        ValueError: ``sigma`` is out of range; on call, features that are no images.

    Reference:
        Fong and Vedaldi, "Interpretable Explanations of Black Boxes by Meaningful Perturbation", ICCV 2017,
        arXiv 1704.03296, with sigma 10.

    Example:
        >>> view = View(Important(), Blur(sigma=10.0))
    """

    sigma: float = 10.0

    def __post_init__(self) -> None:
        given = self.sigma
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not (number and 0 < given <= _WIDEST):
            raise ValueError(f"Blur(sigma={given!r}); give pixels above 0 and at most {_WIDEST:,.0f}, as 10.0.")

    def __call__(self, features: Tensor, importance: Tensor | None) -> Tensor:
        """Give the fill, (images, channels, height, width)."""
        _check_images(self, features)
        # First to the dtype, then to the device: some devices have no float64.
        rows, columns = (
            _blurring(int(size), float(self.sigma)).to(features.dtype).to(features.device)
            for size in features.shape[2:]
        )
        with torch.autocast(features.device.type, enabled=False):  # pixels are not rounded
            return rows @ features @ columns.T


@dataclass(frozen=True)
class OtherImages:
    """Fill every image with the pixels of another image of the batch, at the same places.

    The batch is put into a random circle, and every image is filled from the next one: none from itself. So a background
    is swapped for a real one. Important places of the other image would bring its object along; there the fill is the
    average colour of that image's other places. What is important in an image without annotation is not known: all of its
    pixels are used. An image that is alone in its batch is filled with the average colour of its own unimportant places.

    Args:
        threshold: Important is ``importance > threshold``; with 1 all pixels of the other image are used.
        column: Column with human importance.

    Raises:
        ValueError: ``threshold`` is outside [0, 1]; on call, features that are no images.

    Reference:
        Xiao, Engstrom, Ilyas and Madry, "Noise or Signal: The Role of Image Backgrounds in Object Recognition", ICLR 2021,
        arXiv 2006.09994, whose Mixed-Rand puts objects before backgrounds of random images.

    Example:
        >>> view = View(Important(), OtherImages())
    """

    threshold: float = 0.5
    column: str = IMPORTANCE

    def __post_init__(self) -> None:
        given = self.threshold
        if not (isinstance(given, int | float) and 0 <= given <= 1):
            raise ValueError(f"OtherImages(threshold={given!r}); give a number in [0, 1], the range of the importance.")

    def __call__(self, features: Tensor, importance: Tensor | None) -> Tensor:
        """Give the fill, (images, channels, height, width)."""
        _check_images(self, features)
        important = torch.zeros_like(features[:, :1], dtype=torch.bool)
        if importance is not None:
            important = (importance > self.threshold)[:, None]
        average = _average(features, ~important)
        if len(features) == 1:
            return average.expand_as(features)
        given = torch.where(important, average, features)
        # Drawn by the CPU generator, so that the draws are the same on every device.
        circle = torch.randperm(len(features))
        other = torch.empty_like(circle).scatter_(0, circle, circle.roll(-1))
        return given[other.to(features.device)]


def _check_images(owner: object, features: Tensor) -> None:
    if features.dim() != 4:
        raise ValueError(
            f"{type(owner).__name__}() was given features {tuple(features.shape)}; it replaces pixels, (images, channels, "
            "height, width). For the boxes of region features take marginal or negative_ones."
        )


def _average(features: Tensor, places: Tensor) -> Tensor:
    # (images, channels, 1, 1): the mean of each image over some of its places, or over all where it has none of them.
    chosen = places | ~places.flatten(1).any(1).reshape(-1, 1, 1, 1)
    return torch.where(chosen, features, 0).sum((2, 3), keepdim=True) / chosen.sum((2, 3), keepdim=True)


def _blurring(size: int, sigma: float) -> Tensor:
    # (size, size) float64: the matrix that blurs a line of this many pixels. A product works for kernels wider than the line,
    # which padding does not.
    radius = max(1, math.ceil(_TRUNCATED * sigma - 0.5))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-((offsets.double() / sigma) ** 2) / 2)
    period = max(1, 2 * (size - 1))
    source = (torch.arange(size)[:, None] + offsets) % period
    source = torch.minimum(source, period - source) if size > 1 else torch.zeros_like(source)
    weights = (kernel / kernel.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source, weights)
