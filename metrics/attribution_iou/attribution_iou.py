"""Attribution IoU: overlap of the mask with the pixels whose attribution exceeds a threshold."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Attribution IoU: intersection over union of the mask and the pixels whose min-max normalised positive attribution is
strictly above a threshold, averaged over pairs; 0 where the union is empty (Rao et al., 2023).
"""

_CITATION = """\
@inproceedings{rao2023studying,
  title = {Studying How to Efficiently and Effectively Guide Models with Explanations},
  author = {Rao, Sukrut and B{\"o}hle, Moritz and Parchami-Araghi, Amin and Schiele, Bernt},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2023}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: attribution maps, (height, width) each, any sign; a list or one (pairs, height, width) array or tensor.
    references: masks in [0, 1], one for each map and of its size.
    threshold: None for 0.5, a number in [0, 1], or "best": the one with the highest mean IoU over these
        (held-out) pairs.
    undefined: what an empty union counts as: "zero" (default) or "drop".
    thresholds (evaluate.load): thresholds at which pairs are measured when they are added, by default 0.05, 0.10, .., 0.95.
Returns:
    attribution_iou: mean intersection over union, from 0 to 1; 0 if "drop" leaves no pair.
    threshold: the threshold at which it was measured.
Example:
    >>> metric = evaluate.load("metrics/attribution_iou")
    >>> metric.compute(predictions=[[[4.0, 3.0], [1.0, -2.0]]], references=[[[1, 0], [0, 0]]])
    {'attribution_iou': 0.5, 'threshold': 0.5}
"""

_NOTHING = "No pair was added; pass predictions and references to add, add_batch or compute."
_GRID = tuple(step / 20 for step in range(1, 20))


def _numpy(values):
    """Copy a torch tensor to NumPy, which has no bfloat16; anything else is returned as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def _plane(values, name):
    """Return one map or mask as a finite float64 array of shape (height, width)."""
    try:
        plane = np.asarray(_numpy(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} is not an array of numbers ({error}); pass an array of shape (height, width)."
        ) from error
    if plane.ndim != 2 or plane.size == 0:
        fix = "sum over channels first, and pass a batch as (pairs, height, width) or a list"
        raise ValueError(f"{name} has shape {plane.shape}; allowed is (height, width), both at least 1: {fix}.")
    if not np.isfinite(plane).all():
        bad = np.count_nonzero(~np.isfinite(plane))
        raise ValueError(
            f"{name} holds NaN or infinity in {bad} of {plane.size} pixels; allowed are finite numbers: "
            "repair it, e.g. with numpy.nan_to_num, or leave the pair out."
        )
    return plane


def _pairs(predictions, references, first):
    """Yield (map, mask) as float64 arrays; `first` is the number of the first pair, for error messages."""
    predictions, references = _numpy(predictions), _numpy(references)
    for name, given in (("predictions", predictions), ("references", references)):
        if not hasattr(given, "__len__"):
            allowed = (
                "a list of (height, width) arrays or one (pairs, height, width) array; pass maps and masks together"
            )
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is {allowed}.")
    if len(predictions) != len(references):
        given = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"Given were {given}; pass one mask for each map.")
    for row, (attribution, mask) in enumerate(zip(predictions, references, strict=True), start=first):
        attribution, mask = _plane(attribution, f"predictions[{row}]"), _plane(mask, f"references[{row}]")
        if attribution.shape != mask.shape:
            given = f"predictions[{row}] has shape {attribution.shape} but references[{row}] has shape {mask.shape}"
            raise ValueError(f"{given}; both must have the same size: resize one to the size of the other.")
        if mask.min() < 0 or mask.max() > 1:
            given = f"references[{row}] holds values from {mask.min():g} to {mask.max():g}"
            raise ValueError(f"{given}; a mask lies in [0, 1]: divide a 0/255 mask by 255.")
        yield attribution, mask


def _check(threshold):
    """Return the threshold as a float in [0, 1]."""
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise ValueError(f'threshold is {threshold!r}; allowed are None (0.5), a number in [0, 1] and "best".')
    return float(threshold)


def _measure(attribution, mask, thresholds):
    """Return the IoU of the mask with the map at each threshold, NaN where both are empty."""
    scaled, mask = np.maximum(attribution, 0), mask > 0.5
    low, high = scaled.min(), scaled.max()
    if high - low >= 1e-7:
        scaled = (scaled - low) / (high - low)
    elif high > 0:
        scaled = scaled / high
    ious, area, above, both = [], np.count_nonzero(mask), np.empty_like(mask), np.empty_like(mask)
    for threshold in thresholds:
        overlap = np.count_nonzero(np.logical_and(np.greater(scaled, threshold, out=above), mask, out=both))
        union = area + np.count_nonzero(above) - overlap
        ious.append(overlap / union if union else math.nan)
    return ious


def _mean(ious, undefined):
    """Average over the pairs; those with an empty union count as 0 or are left out. 0 where no pair is left."""
    defined = [iou for iou in ious if not math.isnan(iou)]
    return math.fsum(defined) / max(len(ious if undefined == "zero" else defined), 1)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class AttributionIou(evaluate.Metric):
    """Intersection over union of thresholded attribution maps and masks."""

    def __init__(self, *args, thresholds=_GRID, **kwargs):
        """Take the thresholds at which pairs are measured when they are added."""
        super().__init__(*args, **kwargs)
        self.thresholds = tuple(map(_check, thresholds))

    def _info(self):
        """Describe the module."""
        plane = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": plane, "references": plane}),
            reference_urls=["https://arxiv.org/abs/2303.11932"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a pair; `features` describes what is passed: maps, which are not stored."""
        return datasets.Features({name: datasets.Sequence(datasets.Value("float64")) for name in self.features})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one pair; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of pairs, each reduced to its IoUs at once; if one is bad, nothing of the batch is kept."""
        self._add(predictions, references, self.thresholds)

    def _add(self, predictions, references, thresholds):
        """Store the IoUs of each pair and their thresholds."""
        ious = [_measure(*pair, thresholds) for pair in _pairs(predictions, references, first=len(self))]
        super().add_batch(predictions=ious, references=[list(thresholds)] * len(ious))

    def compute(self, *, predictions=None, references=None, threshold=None, undefined="zero"):
        """Compute the metric over everything added. Bad options are refused first, and lose nothing of it."""
        if undefined not in ("zero", "drop"):
            raise ValueError(f'undefined is {undefined!r}; allowed are "zero" (counts as 0) and "drop" (left out).')
        threshold = threshold if threshold == "best" else _check(0.5 if threshold is None else threshold)
        given = predictions is not None or references is not None
        if given and len(self) == 0 and self.num_process == 1 and threshold != "best":
            self._add(predictions, references, (threshold,))
        elif threshold != "best" and threshold not in self.thresholds:
            fix = (
                f"use evaluate.load(..., thresholds=[{threshold}]) or, in one process, pass all maps to compute itself"
            )
            raise ValueError(
                f"threshold {threshold} is not among {self.thresholds}, at which pairs are measured: {fix}."
            )
        elif given:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(threshold=threshold, undefined=undefined)

    def _compute(self, *, predictions, references, threshold, undefined):
        """Average the stored IoUs at the threshold, or at every threshold for the best: the first of equal ones."""
        if not predictions:
            raise ValueError(_NOTHING)
        thresholds = references[0]
        columns = range(len(thresholds)) if threshold == "best" else [thresholds.index(threshold)]
        means = {thresholds[i]: _mean([ious[i] for ious in predictions], undefined) for i in columns}
        best = max(means, key=means.get)
        return {"attribution_iou": means[best], "threshold": best}
