"""The pipeline "guided-image-classification": classes, their probabilities, and where each was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from transformers import Pipeline

from hf_guidance.apps.pipelines.fetching import fetched
from hf_guidance.attributions import Attribution
from hf_guidance.evaluation import Explanations, explain
from hf_guidance.evaluation.explaining.sizes import check_counts
from hf_guidance.models import with_channel_mask

TASK = "guided-image-classification"
_TOP_K = 5


class GuidedImageClassificationPipeline(Pipeline):  # type: ignore[misc]
    """Classify images, and show where each class was seen.

    A class costs what its attribution costs: one backward for most, none for `GradCAM` at the end of a net whose head is a
    mean and a Linear layer.

    Args (of the call, or of ``pipeline(...)``):
        inputs: An image or a list: paths, addresses, PIL images, uint8 arrays; read as `hf_guidance.explain` reads them.
        top_k: Number of classes, those of highest logit; 5, or all if there are fewer.
        attribution: The method, or its name; None takes what suits the model.
        raw_map: Whether to add ``raw_map``, (height, width) float32, signed, on the pixels of the image.
        timeout: Seconds to wait for an address.
        batch_size: Images per call of the model, as of every pipeline.

    Returns:
        For each image a list of dicts, the most probable class first: ``score`` (as of transformers' image classification),
        ``label``, and ``map``, a PIL image of mode "L" and of the image's size: 255 where the attribution is highest, 0 where
        it is zero or negative.

    Example:
        >>> import hf_guidance.apps.pipelines
        >>> classify = pipeline("guided-image-classification", model="org/repo")
        >>> classify("cat.jpg", top_k=1)
        [{'score': 0.93, 'label': 'tabby', 'map': <PIL.Image.Image image mode=L size=640x480>}]
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        with_channel_mask(self.model)  # pipeline() loads models as transformers does, without it

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Classify and explain; see the class. A list gives a list, an empty one too."""
        if isinstance(inputs, list | tuple) and not inputs:
            return []
        return super().__call__(list(inputs) if isinstance(inputs, tuple) else inputs, **options)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        attribution: Attribution | str | None = None,
        raw_map: bool | None = None,
        timeout: float | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        check_counts(top_k=top_k)
        given = {"top_k": top_k, "attribution": attribution}
        return (
            {} if timeout is None else {"timeout": timeout},
            {name: value for name, value in given.items() if value is not None},
            {} if raw_map is None else {"raw_map": raw_map},
        )

    def preprocess(self, image: Any, timeout: float | None = None) -> dict[str, Any]:
        """Fetch an image that is an address; all others are read where they are explained."""
        if isinstance(image, str):
            image = fetched(image, timeout)
        return {"image": (image,)}  # in a tuple, so that nothing in it is taken for tensors to be joined

    def _forward(
        self, model_inputs: dict[str, Any], top_k: int = _TOP_K, attribution: Attribution | str | None = None
    ) -> dict[str, Any]:
        batch = model_inputs["image"]  # a tuple, or with batch_size > 1 a list of them
        images = [image for (image,) in (batch if isinstance(batch, list) else [batch])]
        classes = min(top_k, int(self.model.config.num_labels))
        found = explain(
            self.model, images, self.image_processor, attribution=attribution, top_k=classes, batch_size=len(images)
        ).by_image()
        return {"found": found if isinstance(batch, list) else found[0]}

    def postprocess(self, model_outputs: dict[str, Any], raw_map: bool = False) -> list[dict[str, Any]]:
        """One dict per class."""
        explanations: Explanations = model_outputs["found"]
        entries = []
        for one in explanations:
            map_ = one.map
            entry = {"score": one.score, "label": one.label, "map": _picture(map_)}
            entries.append(entry | {"raw_map": map_.astype(np.float32)} if raw_map else entry)
        return entries


def _picture(map_: npt.NDArray[np.floating]) -> Image.Image:
    positive = np.maximum(map_, 0)
    return Image.fromarray(np.round(255 * positive / (positive.max() or 1.0)).astype(np.uint8))
