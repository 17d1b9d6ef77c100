"""Images for bias-free ResNets."""

from transformers import ViTImageProcessor
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from hf_guidance.models.shared.remote_code import CarriesCode


class XDNNImageProcessor(CarriesCode, ViTImageProcessor):  # type: ignore[misc]
    """Convert to RGB, resize to (height, width) bilinearly, and normalise by mean and deviation of ImageNet's colours.

    Zero, the baseline of integrated gradients on a bias-free network, is then the mean colour.

    Example:
        >>> processor = XDNNImageProcessor(size={"height": 72, "width": 72})
        >>> pixel_values = processor(images=[image], return_tensors="pt")["pixel_values"]
    """

    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    do_convert_rgb = True
