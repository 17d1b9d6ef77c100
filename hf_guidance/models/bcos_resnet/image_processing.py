"""Images for B-cos nets: the colours and their complements."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling
from transformers.utils import logging

from hf_guidance.models.shared.remote_code import CarriesCode

logger = logging.get_logger(__name__)
_TOLERANCE = 1e-3  # an earlier resize may have overshot [0, 1] by rounding


class BcosImageProcessor(CarriesCode, TorchvisionBackend):  # type: ignore[misc]
    """Resize, scale to [0, 1], and return ``[r, g, b, 1 - r, 1 - g, 1 - b]`` (arXiv 2205.10268, section 4).

    Pixels are not normalised. With the complements every colour is a direction of the six channels; the brightness of a pixel
    is not its length, which a net without biases would read as importance.

    Args:
        size: {"height": 224, "width": 224} by default; the aspect is not kept.
        do_resize: Whether to resize.
        resample: Interpolation, bilinear by default.
        do_rescale: Whether to divide by 255; images that already lie in [0, 1] need False, and a warning says so.
        **kwargs: What every image processor takes.

    Raises:
        ValueError: Normalisation is asked for, here or in a call; or images given in a call would lie outside [0, 1], or have
            six channels already.

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
        for image in images if isinstance(images, list | tuple) else [images]:
            _refuse_encoded(image)
        return super().preprocess(images, *args, **kwargs)

    def _preprocess(
        self,
        images: list[torch.Tensor],
        *args: Any,
        do_rescale: bool,
        rescale_factor: float,
        return_tensors: Any = None,
        **kwargs: Any,
    ) -> Any:
        for image in images:
            _check_range(image, rescale_factor if do_rescale else None)
        kwargs |= {"do_rescale": do_rescale, "rescale_factor": rescale_factor}
        plain = super()._preprocess(images, *args, return_tensors=None, **kwargs)["pixel_values"]
        unit = [image.clamp(0, 1) for image in plain]  # bicubic interpolation of floats overshoots
        encoded = [torch.cat([image, 1 - image]) for image in unit]
        return BatchFeature(data={"pixel_values": encoded}, tensor_type=return_tensors)


def _refuse_normalisation(do_normalize: Any) -> None:
    if do_normalize:
        raise ValueError(
            "BcosImageProcessor(do_normalize=True): B-cos nets read colours in [0, 1] and their complements; normalised "
            "ones have no complement. Leave do_normalize False."
        )


def _refuse_encoded(image: Any) -> None:
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) > 2 and 6 in (shape[-3], shape[-1]) and not {1, 3} & {shape[-3], shape[-1]}:
        raise ValueError(
            f"BcosImageProcessor got an array of shape {shape}: six channels are what it puts out. Give pictures or arrays of "
            "three channels, or hand the encoded ones to the model as pixel_values."
        )


def _check_range(image: torch.Tensor, factor: float | None) -> None:
    """Refuse an image whose scaled values leave [0, 1]; called before the resize, which changes the range."""
    byte = image.dtype == torch.uint8  # judged by the range of the type: a dark picture has low values only
    low, high = (0.0, 255.0) if byte else (float(image.min()), float(image.max()))
    scale = 1.0 if factor is None else factor
    fits = -_TOLERANCE <= low * scale <= high * scale <= 1 + _TOLERANCE
    if not fits or (factor is None and not image.is_floating_point()):
        raise ValueError(
            f"BcosImageProcessor got {image.dtype} pixels from {low:g} to {high:g} with do_rescale={factor is not None}"
            f"{'' if factor is None else f', rescale_factor={factor:g}'}; a B-cos net reads colours in [0, 1], or the "
            "complements are wrong. Pixels from 0 to 255 need do_rescale=True and rescale_factor=1/255, floats in [0, 1] need "
            "do_rescale=False."
        )
    if factor is not None and factor < 1 and image.is_floating_point() and 0 < high <= 1:
        logger.warning_once(
            "BcosImageProcessor: the images seem to be floats in [0, 1] already, and rescaling makes them black; set "
            "do_rescale=False."
        )
