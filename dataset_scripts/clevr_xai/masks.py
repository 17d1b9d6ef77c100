"""CLEVR-XAI's ground truth masks."""

import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation
from hf_guidance.data.images.pictures import channel_values, open_picture

RELEASED = (
    128,
    128,
)  # the published masks have this size, whatever the image's: whole images, resized for the authors' net


def read_mask(path: str, size: tuple[int, int] | None, item: str) -> Image.Image:
    """Read a mask as one channel of 0 and 255.

    Args:
        path: A .npy or .png file of two values, of which 0 is outside.
        size: (width, height) of the image, to which a mask of the published size is resized; None leaves it.
        item: Names the question in errors.

    Raises:
        InvalidAnnotation: The file is unreadable, has several channels, or more than two values.
    """
    pixels = _pixels(path, item)
    if pixels.ndim != 2:
        raise InvalidAnnotation("mask is not one channel", item, f"{path} has shape {pixels.shape}.")
    values = np.unique(pixels) if pixels.dtype.kind in "biuf" else np.array([])
    if not len(values) or not np.isfinite(values).all() or np.count_nonzero(values) > 1:
        message = (
            f"{path} is of {pixels.dtype} with {len(values)} different values, such as {values[:3].tolist()}; allowed: 0 "
            "outside the objects and one other value inside."
        )
        raise InvalidAnnotation("mask is not binary", item, message)
    mask = Image.fromarray(np.where(pixels != 0, 255, 0).astype(np.uint8))
    if size is None or mask.size != RELEASED:
        return mask
    return mask.resize(size, Image.Resampling.NEAREST)


def _pixels(path: str, item: str) -> np.ndarray:
    if path.lower().endswith(".npy"):
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidAnnotation("unreadable or truncated mask", item, f"{path}: {error}.") from None
    return channel_values(open_picture(path), path)  # only what is zero matters, not the range
