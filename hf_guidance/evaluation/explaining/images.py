"""explain: where a model looks in images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_guidance.attributions import Attribution
from hf_guidance.common.progress import progress_bar
from hf_guidance.evaluation.explaining.explanations import Explanation, Explanations
from hf_guidance.evaluation.explaining.given import given_images
from hf_guidance.evaluation.explaining.job import ImageJob
from hf_guidance.evaluation.explaining.methods import method_of
from hf_guidance.evaluation.explaining.models import image_family, plain_model, quiet
from hf_guidance.evaluation.explaining.pixels import given_pixels
from hf_guidance.evaluation.explaining.sizes import check_counts
from hf_guidance.evaluation.explaining.targets import label_names, wanted_classes
from hf_guidance.families import Family


def explain(
    model: Any,
    images: Any,
    processor: Any = None,
    *,
    attribution: Attribution | str | None = None,
    target: Any = None,
    top_k: int | None = None,
    batch_size: int | None = None,
    max_rows: int | None = None,
    family: Family | None = None,
    model_arguments: Mapping[str, Any] | None = None,
) -> Explanations:
    """Explain what a classifier of images sees in them: a map for a class, on the pixels of the image.

    The model is called in eval mode, in its dtype, on its device, and left as it was. Callers may be under ``torch.no_grad()``
    or ``torch.inference_mode()``. Of DistributedDataParallel and ``torch.compile`` the model inside is called.

    Args:
        model: A classifier of transformers, of this library, or another whose forward takes ``pixel_values``.
        images: One image or a list: paths, PIL images, uint8 arrays (height, width, channels), uint8 tensors (channels,
            height, width); read as `GuidanceCollator` reads them. Without ``processor`` floating-point pixel_values
            (images, channels, height, width); maps are then on these pixels.
        processor: The image processor of the model, or a function from a PIL image to a tensor (channels, height, width).
        attribution: The method, or its name, as "InputXGradient"; None takes what suits the model: `BcosContribution` for
            B-cos nets, `IntegratedGradients` for X-DNNs, `GradCAM` for others.
        target: The class to explain, by number or label: one for all images, or a list with one entry per image, each a class
            or a list of classes. For a single image a list holds its classes. None is the class with the highest logit.
        top_k: Instead, so many classes of every image, those with the highest logits.
        batch_size: Images per call of the model; None chooses by their size and the device.
        max_rows: Copies per call for methods that edit images (IntegratedGradients); None chooses likewise.
        family: Inputs, outputs and layers of the model; found when None.
        model_arguments: Further arguments of every call of the model, such as ``{"interpolate_pos_encoding": True}``.

    Returns:
        The explanations, image by image: maps, scores, labels.

    Raises:
        ValueError: An image, a target, the method or the model does not fit; the message says which, and what to do.

    Example:
        >>> found = explain(model, ["cat.jpg", "dog.jpg"], processor)
        >>> found[0].label, round(found[0].score, 2), found[0].map.shape
        ('tabby', 0.93, (480, 640))
        >>> found.save("maps.png")
    """
    check_counts(batch_size=batch_size, max_rows=max_rows)
    net = plain_model(model)
    given, single = _given(images, processor)
    labels = label_names(net)
    wanted = wanted_classes(target, top_k, len(given), single, labels)
    found: list[Explanation] = []
    with quiet(net):
        known = image_family(net, family, model_arguments)
        job = ImageJob(net, known, method_of(attribution, known), labels, batch_size, max_rows)
        with progress_bar(len(given), "explaining", unit="image") as bar:
            for explanations in job.run(given, wanted, processor):
                found += explanations
                bar.update(len({one.index for one in explanations}))
    return Explanations(found)


def _given(images: Any, processor: Any) -> tuple[Sequence[Any], bool]:
    if processor is not None and not callable(processor):
        raise ValueError(f"processor is a {type(processor).__name__}; give the model's image processor.")
    return given_pixels(images) if processor is None else given_images(images)
