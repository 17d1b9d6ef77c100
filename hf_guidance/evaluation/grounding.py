"""Grounding: scores the attributions of evaluated images with evaluate modules, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from hf_guidance.attributions import Attribution
from hf_guidance.common.checks import check_choice
from hf_guidance.data.columns import ANNOTATED, HUMAN_MAP, IMPORTANCE, RANDOM_IMPORTANCE, ROW, SAVED_MAP
from hf_guidance.evaluation.metric_modules import load_metric
from hf_guidance.evaluation.right_reasons import METRIC, RRR
from hf_guidance.families import Family
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import OVERLAPS, boxes_onto_image, onto_image
from hf_guidance.guidance import Guidance
from hf_guidance.views import Needs


class Grounding:
    """The metrics of attributions that ``evaluate()`` reports, over all annotated (image, positive class) pairs.

    Maps are resized to the importance (bilinear), and boxes that are padding are left out. Attributions of boxes are compared
    with importance of boxes, or become maps of pixels (``overlap``) where the importance is a map. Both go to the metrics batch
    by batch, flattened where a metric takes vectors; only scalars are kept. A batch costs one forward, and one backward per
    slot: slots number the explained rows of an image.

    With ``importance="human_map"``, which QuestionCollator makes with ``map_size``, and the metric "plausibility" this is the
    rank correlation with human maps of arXiv 2010.10038 (section 4.2): the mean of Spearman's correlation, over pixels, of the
    map and the human one. Pairs of which one map is constant have none: they are left out of the mean, and
    ``plausibility_undefined_share`` is their share.

    Args:
        attribution: The attribution to measure; unguided models are measured the same way.
        metrics: Names of this library's metrics; ids of metric Spaces on the Hub, as "org/epg", or paths of folders that hold
            a metric, whose code is run; or loaded evaluate modules. They take maps as ``predictions`` and masks as
            ``references``. "rrr" takes predictions on edited images instead, as ``rrr`` says.
        importance: Batch column that the maps are compared with.
        unannotated: What to do with pairs whose importance is empty or not given. "drop" leaves them out. "zero" counts
            them as maps entirely outside the importance, with EPG and IoU 0. This is the mean over all positives that
            arXiv 2303.11932 reports: there an image keeps its class when the boxes vanish at 224 pixels.
        rrr: How the metric "rrr" edits images; by default unimportant or important places become zeros.
        overlap: What a pixel in several boxes gets, where attributions of boxes are compared with a map: the "mean" or the
            "sum" of theirs. Pixels in no box get 0.

    Note:
        arXiv 2010.10038 prints 0.103 for SOrT and 0.080 for Pythia on 4,122 validation maps of VQA-HAT, for GradCAM "at the
        last convolution". Its code for this is not released. The model reads features that were extracted before, and the
        paper does not say which network is differentiated, nor which answer is explained, nor to which size maps are brought:
        here `GradCAM("grid")` of Pythia is at the outputs of the CNN that made the grid, the answer is the attribution's
        ``target``, and the size is ``map_size``. That Das et al. (2016), who collected VQA-HAT, resize both maps to 14 x 14
        before they rank them is from memory, and was not checked.

    Raises:
        ValueError: Unknown ``unannotated`` or ``overlap``, an ``attribution`` that is none, a metric that is not found, two of
            one name, or ``rrr`` without the metric "rrr".

    Example:
        >>> trainer = GuidedTrainer(..., grounding=Grounding(GradCAM(), metrics=("epg", "attribution_iou", "rrr")))
        >>> trainer = GuidedTrainer(..., grounding=Grounding(GradCAM(), metrics=("org/on_object_epg",)))
        >>> trainer = GuidedTrainer(..., grounding=Grounding(GradCAM("grid"), ("plausibility",), importance="human_map"))
    """

    def __init__(
        self,
        attribution: Attribution,
        metrics: Sequence[str | Any] = ("epg",),
        importance: str = IMPORTANCE,
        unannotated: str = "drop",
        rrr: RRR | None = None,
        overlap: str = "mean",
    ) -> None:
        if not hasattr(attribution, "needs"):
            raise ValueError(
                f"attribution={attribution!r} is a {type(attribution).__name__}; give an attribution, as GradCAM()."
            )
        check_choice("unannotated", unannotated, ("drop", "zero"))
        check_choice("overlap", overlap, OVERLAPS)
        self.attribution = attribution
        self.importance = importance
        self.unannotated = unannotated
        self.overlap = overlap
        self._given = tuple(metrics)
        self._metrics = [load_metric(metric) if isinstance(metric, str) else metric for metric in metrics]
        names = [metric.name for metric in self._metrics]
        if len(set(names)) < len(names):
            raise ValueError(
                f"metrics={list(metrics)!r}: two have the same name, {sorted(names)}; their values would mix."
            )
        if rrr is not None and METRIC not in names:
            raise ValueError(f"rrr={rrr!r}, but metrics={names}; add {METRIC!r} to the metrics, or leave rrr out.")
        self.rrr = rrr or (RRR() if METRIC in names else None)
        self._added = dict.fromkeys(names, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        # By the names of the metrics: a process that has not loaded their files cannot unpickle what they define.
        given = (self.attribution, self._given, self.importance, self.unannotated, self.rrr, self.overlap)
        return type(self), given

    def needs(self) -> Needs:
        """What the attribution and the edited images need of a Forward."""
        needs = self.attribution.needs()
        return needs if self.rrr is None else needs | self.rrr.needs(self.importance)

    def add(
        self,
        forward: Forward | None,
        batch: Mapping[str, Any],
        images: int,
        gather: Callable[[list[Any]], list[Any]] | None = None,
    ) -> None:
        """Add the explained rows of a batch.

        Args:
            forward: A forward of the annotated explained rows only, whose needs include those of this grounding; None when
                the batch has none.
            batch: The collated batch, pairs without annotation included.
            images: Number of images in the batch.
            gather: Joins a list with one item per image over all processes, without the duplicates of the last batch.
        """
        by_image: list[list[Any]] = [[] for _ in range(images)]
        if forward is not None:
            for image, attribution, mask in self.pairs_of(forward):
                by_image[image].append((attribution, mask))
            for image, answers in (self.rrr.measure(forward, self.importance) if self.rrr is not None else {}).items():
                by_image[image].append(answers)
        if self.unannotated == "zero":
            for image in _unannotated(batch):
                nothing = np.zeros(tuple(batch[self.importance].shape[1:]), np.float32)
                by_image[image].append((nothing + 1, nothing))
        found = [item for items in (gather(by_image) if gather else by_image) for item in items]
        self.add_pairs([item for item in found if isinstance(item, tuple)])
        self._add_answers([item for item in found if isinstance(item, dict)])

    def pairs_of(self, forward: Forward) -> list[tuple[int, Any, Any]]:
        """The pairs that are measured: number of the image, map, and importance of the same size; boxes without padding.

        Args:
            forward: As for ``add``.

        Raises:
            ValueError: Maps are to be compared with importance of boxes; or numbers that are not one for each box, with a map.
        """
        importance = forward.importance(self.importance)
        maps = self._of_size(forward, forward.attribution(self.attribution), tuple(importance.shape[1:]))
        real = forward.real_places(tuple(maps.shape[1:]))
        places = [slice(None)] * forward.images if real is None else list(real.cpu().numpy())
        pairs = zip(forward.row, maps.detach().cpu().numpy(), importance.cpu().numpy(), strict=True)
        return [(image, attribution[places[image]], mask[places[image]]) for image, attribution, mask in pairs]

    def _of_size(self, forward: Forward, maps: Tensor, size: tuple[int, ...]) -> Tensor:
        if maps.dim() > 2 and len(size) == 2:
            return onto_image(maps, (size[0], size[1]), forward.seen(tuple(maps.shape[-2:])))
        if maps.dim() > 2:
            raise ValueError(
                f"{self.attribution!r} gives maps of {tuple(maps.shape[1:])} places, and column {self.importance!r} one number "
                f"for each of {size[0]} boxes; name a column of maps, as importance={HUMAN_MAP!r} (QuestionCollator makes it "
                "with map_size=(14, 14)), or take a layer with boxes."
            )
        column = getattr(forward.family, "boxes", None)
        if len(size) < 2 or column is None:
            return maps
        boxes, real = forward.of_rows(forward.column(column)), forward.real_places(tuple(maps.shape[1:]))
        kept = None if real is None else forward.of_rows(real).cpu()
        # On the host, where the metrics are computed, too: some devices have no float64.
        return boxes_onto_image(maps.detach().cpu(), boxes.cpu(), (size[0], size[1]), self.overlap, kept)

    def add_pairs(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Add (map, mask) pairs of equal size."""
        maps = {"predictions": [pair[0] for pair in pairs], "references": [pair[1] for pair in pairs]}
        flat = {name: [np.ravel(values) for values in given] for name, given in maps.items()}
        for metric in self._metrics:
            if metric.name != METRIC:
                self._add(flat if _takes_vectors(metric) else maps, len(pairs), (metric,))

    def _add_answers(self, answers: Sequence[Mapping[str, float]]) -> None:
        columns = {name: [of_image[name] for of_image in answers] for name in (answers[0] if answers else ())}
        self._add(columns, len(answers), (metric for metric in self._metrics if metric.name == METRIC))

    def _add(self, columns: Mapping[str, list[Any]], count: int, metrics: Iterable[Any]) -> None:
        for metric in metrics if count else ():
            self._added[metric.name] += count
            metric.add_batch(**columns)

    def reset(self) -> None:
        """Forget what was added so far; an evaluation that failed leaves some behind."""
        for metric in self._metrics:
            if self._added[metric.name]:
                with suppress(Exception):  # a module forgets its pairs only in compute(), which may fail on them
                    metric.compute()
            self._added[metric.name] = 0

    def compute(self) -> dict[str, float]:
        """Compute the metrics of what was added, and forget it; empty where nothing was.

        The main value of a metric has the metric's name, which prefixes its other values: "epg", "epg_undefined_share".
        """
        results: dict[str, float] = {}
        for metric in self._metrics:
            added, self._added[metric.name] = self._added[metric.name], 0
            for key, value in ((metric.compute() if added else None) or {}).items():
                if isinstance(value, int | float):
                    own = key == metric.name or key.startswith(f"{metric.name}_")
                    results[key if own else f"{metric.name}_{key}"] = float(value)
        return results


def _takes_vectors(metric: Any) -> bool:
    """Whether a metric declares that a prediction is a list of numbers, and not of lists."""
    features = getattr(metric, "features", None)
    declared = features if isinstance(features, Mapping) else {}
    inner = getattr(declared.get("predictions"), "feature", None)
    return inner is not None and not hasattr(inner, "feature")


def _unannotated(batch: Mapping[str, Any]) -> list[int]:
    """The image of each pair without annotation, one entry per pair."""
    flags = list(batch.get(ANNOTATED, []))
    return [image for image, used in zip(batch.get(ROW, range(len(flags))), flags, strict=True) if not used]


def all_needs(guidance: Guidance, grounding: Grounding | None) -> Needs:
    """What the terms of training and the metrics of evaluation read of the model."""
    return guidance.needs() | (grounding.needs() if grounding is not None else Needs())


def default_grounding(guidance: Guidance, family: Callable[[], Family]) -> Grounding | None:
    """Make the grounding of the first term on attributions: EPG, or plausibility for boxes; None without such a term.

    Args:
        guidance: The terms.
        family: Returns the model's family; called only if there is such a term.
    """
    for term in guidance.on_attributions.values():
        told = getattr(term.objective, "importance", IMPORTANCE)
        # A control is trained with random importance, CRAYON with maps of a model; both are measured by the human one.
        column = IMPORTANCE if told in (RANDOM_IMPORTANCE, SAVED_MAP) else told
        method: Attribution = term.objective.attribution  # type: ignore[attr-defined]
        return Grounding(method.by_place(), (family().metric,), column)
    return None
