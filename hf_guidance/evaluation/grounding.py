"""Grounding: score attributions of the evaluated images with evaluate modules, pair by pair as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hf_guidance.attributions import Attribution
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import ANNOTATED, IMPORTANCE, RANDOM_IMPORTANCE, ROW
from hf_guidance.evaluation.metric_modules import metric_path
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import resize_maps
from hf_guidance.guidance import Guidance
from hf_guidance.views import Needs


class Grounding:
    """What ``evaluate()`` measures of attributions, over all annotated (image, positive class) pairs.

    Maps are brought to the size of the importance (bilinear), boxes that are padding are left out, and both are handed to
    the metrics batch by batch; only scalars are kept. A batch costs one forward and one backward per class slot.

    Args:
        attribution: Where the model looks; unguided models are measured the same way.
        metrics: Names of this library's metrics, or loaded evaluate modules with ``predictions`` = maps and
            ``references`` = masks.
        importance: Column to compare with.
        unannotated: What becomes of pairs whose importance is empty or not given: "drop" leaves them out, "zero" counts
            them as maps entirely outside of it, EPG and IoU 0. The latter is the mean over all positives that arXiv
            2303.11932 reports, where boxes that vanish at 224 pixels keep their class.

    Raises:
        ValueError: Another ``unannotated``, or an ``attribution`` that is not an attribution.

    Example:
        >>> trainer = GuidedTrainer(..., grounding=Grounding(GradCAM(), metrics=("epg", "attribution_iou")))
    """

    def __init__(
        self,
        attribution: Attribution,
        metrics: Sequence[str | Any] = ("epg",),
        importance: str = IMPORTANCE,
        unannotated: str = "drop",
    ) -> None:
        if not hasattr(attribution, "needs"):
            raise ValueError(
                f"attribution={attribution!r} is a {type(attribution).__name__}; give an attribution, as GradCAM()."
            )
        check_choice("unannotated", unannotated, ("drop", "zero"))
        import evaluate  # here: it takes seconds to import, and only measuring needs it

        self.attribution = attribution
        self.importance = importance
        self.unannotated = unannotated
        self._metrics = [
            evaluate.load(metric_path(metric), keep_in_memory=True) if isinstance(metric, str) else metric
            for metric in metrics
        ]
        self._pairs = 0

    def needs(self) -> Needs:
        """What the attribution reads."""
        return self.attribution.needs()

    def add(
        self,
        forward: Forward | None,
        batch: Mapping[str, Any],
        images: int,
        gather: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Add the explained rows of a batch.

        Args:
            forward: A forward whose needs include this one's, annotated rows only; None when a batch has none.
            batch: What the collator gave, pairs without annotation included.
            images: Number of its images.
            gather: Joins a list with one item an image over all processes, dropping the last batch's duplicates.
        """
        by_image: list[list[Any]] = [[] for _ in range(images)]
        if forward is not None:
            for image, attribution, mask in self._pairs_of(forward):
                by_image[image].append((attribution, mask))
        if self.unannotated == "zero":
            for image in _unannotated(batch):
                nothing = np.zeros(tuple(batch[self.importance].shape[1:]), np.float32)
                by_image[image].append((nothing + 1, nothing))
        self.add_pairs([pair for pairs in (gather(by_image) if gather else by_image) for pair in pairs])

    def _pairs_of(self, forward: Forward) -> list[tuple[int, Any, Any]]:
        importance = forward.importance(self.importance)
        maps = forward.attribution(self.attribution)
        if maps.dim() > 2:
            maps = resize_maps(maps, (importance.shape[-2], importance.shape[-1]))
        real = forward.real_places(tuple(maps.shape[1:]))
        places = [slice(None)] * forward.images if real is None else list(real.cpu().numpy())
        pairs = zip(forward.row, maps.detach().cpu().numpy(), importance.cpu().numpy(), strict=True)
        return [(image, attribution[places[image]], mask[places[image]]) for image, attribution, mask in pairs]

    def add_pairs(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Add (map, mask) pairs of equal size."""
        self._pairs += len(pairs)
        for metric in self._metrics if pairs else []:
            metric.add_batch(predictions=[p[0] for p in pairs], references=[p[1] for p in pairs])

    def reset(self) -> None:
        """Forget what was added, as an evaluation that failed leaves it."""
        if self._pairs:
            for metric in self._metrics:
                with suppress(Exception):  # modules forget only by computing, which may fail on what was half added
                    metric.compute()
        self._pairs = 0

    def compute(self) -> dict[str, float]:
        """The metrics of everything added, and forget it; empty when nothing was.

        A metric's main value has the metric's name, its others are prefixed by it: "epg", "epg_undefined_share".
        """
        if not self._pairs:
            return {}
        self._pairs = 0
        results: dict[str, float] = {}
        for metric in self._metrics:
            for key, value in (metric.compute() or {}).items():
                if isinstance(value, int | float):
                    results[key if key == metric.name else f"{metric.name}_{key}"] = float(value)
        return results


def _unannotated(batch: Mapping[str, Any]) -> list[int]:
    """The images of the pairs without annotation, an entry a pair."""
    flags = list(batch.get(ANNOTATED, []))
    return [image for image, used in zip(batch.get(ROW, range(len(flags))), flags, strict=True) if not used]


def default_grounding(guidance: Guidance, family: Callable[[], Family]) -> Grounding | None:
    """Measure the maps of the first term on attributions: EPG, or for boxes plausibility; None without such a term.

    Args:
        guidance: The terms.
        family: Gives the model's family; asked where there is a term.
    """
    for term in guidance.on_attributions.values():
        told = getattr(term.objective, "importance", IMPORTANCE)
        # What a control is told is not what it is measured by.
        column = IMPORTANCE if told == RANDOM_IMPORTANCE else told
        return Grounding(term.objective.attribution, (family().metric,), column)  # type: ignore[attr-defined]
    return None
