"""Images for B-cos nets: the colours and their complements."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling


class BcosImageProcessor(TorchvisionBackend):  # type: ignore[misc]
    """Resize, scale to [0, 1], and put out ``[r, g, b, 1 - r, 1 - g, 1 - b]`` (arXiv 2205.10268, section 4).

    Pixels are not normalised: with the complements every colour is a direction, and the brightness of a pixel is no
    length that a net without biases would read as importance.

    Args:
        size: {"height": 224, "width": 224} by default; the aspect is not kept.
        do_resize: Whether to resize.
        resample: Interpolation, bilinear by default.
        do_rescale: Whether to divide by 255; images that are in [0, 1] already need False.
        **kwargs: What every image processor takes.

    Raises:
        ValueError: Normalisation is asked for, here or in a call.

    Example:
        >>> BcosImageProcessor()(image, return_tensors="pt").pixel_values.shape
        torch.Size([1, 6, 224, 224])
    """

    resample = PILImageResampling.BILINEAR
    size = {"height": 224, "width": 224}  # noqa: RUF012
    do_resize = True
    do_rescale = True
    do_normalize = False
    do_convert_rgb = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _refuse_normalisation(self.do_normalize)

    def preprocess(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """Make ``pixel_values`` (batch, 6, height, width) of pictures or arrays; keywords override the settings."""
        _refuse_normalisation(kwargs.get("do_normalize"))
        return super().preprocess(images, *args, **kwargs)

    def _preprocess(self, images: list[torch.Tensor], *args: Any, return_tensors: Any = None, **kwargs: Any) -> Any:
        plain = super()._preprocess(images, *args, return_tensors=None, **kwargs)["pixel_values"]
        encoded = [torch.cat([image, 1 - image]) for image in plain]
        return BatchFeature(data={"pixel_values": encoded}, tensor_type=return_tensors)


def _refuse_normalisation(do_normalize: Any) -> None:
    if do_normalize:
        raise ValueError(
            "BcosImageProcessor(do_normalize=True): B-cos nets read colours in [0, 1] and their complements; normalised "
            "ones have no complement. Leave do_normalize False."
        )
