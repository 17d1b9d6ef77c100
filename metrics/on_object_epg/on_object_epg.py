"""On-object energy pointing game: the share of the positive attribution inside the boxes that lies on the object."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
On-object energy pointing game: of the positive attribution inside the boxes of a class, the share that lies on its
objects, averaged over (image, class) pairs. sum(S * B * max(A, 0)) / sum(B * max(A, 0)) for a map A, the mask B of the
boxes and the segmentation S (Rao et al., 2023, appendix B).
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
    references: masks of the boxes in [0, 1], one for each map and of its size.
    segmentations: masks of the objects in [0, 1], one for each map and of its size.
    undefined: what a map without positive attribution in the boxes (sum below 1e-7) counts as: "zero" (default) or
        "drop".
Returns:
    on_object_epg: mean share, from 0 to 1; 0 if "drop" leaves no pair.
    undefined_share: share of the maps without positive attribution in the boxes, from 0 to 1.
Example:
    >>> metric = evaluate.load("metrics/on_object_epg")
    >>> metric.compute(predictions=[[[3.0, 1.0, 9.0]]], references=[[[1, 1, 0]]], segmentations=[[[1, 0, 0]]])
    {'on_object_epg': 0.75, 'undefined_share': 0.0}
"""

_COLUMNS = ("predictions", "references", "segmentations")
_NOTHING = "Nothing was added; pass predictions, references and segmentations to add, add_batch or compute."
_SMALLEST = 1e-7  # as in EPG: with a smaller sum of positive attribution, the share is undefined


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


def _checked(columns, first):
    """Yield (map, boxes, segmentation) as float64 arrays; `first` is the number of the first map, for errors."""
    columns = {name: _numpy(column) for name, column in columns.items()}
    for name, given in columns.items():
        if not hasattr(given, "__len__"):
            allowed = "a list of (height, width) arrays or one (pairs, height, width) array; pass all three together"
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is {allowed}.")
    if len({len(given) for given in columns.values()}) > 1:
        counts = ", ".join(f"{len(given)} {name}" for name, given in columns.items())
        raise ValueError(f"Given were {counts}; pass a mask of the boxes and a segmentation for each map.")
    for row, planes in enumerate(zip(*columns.values(), strict=True), start=first):
        names = [f"{name}[{row}]" for name in columns]
        planes = [_plane(plane, name) for plane, name in zip(planes, names, strict=True)]
        for name, plane in zip(names[1:], planes[1:], strict=True):
            if plane.shape != planes[0].shape:
                given = f"{names[0]} has shape {planes[0].shape} but {name} has shape {plane.shape}"
                raise ValueError(f"{given}; all must have the same size: resize them to one size.")
            if plane.min() < 0 or plane.max() > 1:
                given = f"{name} holds values from {plane.min():g} to {plane.max():g}"
                raise ValueError(f"{given}; a mask lies in [0, 1]: divide a 0/255 mask by 255.")
        yield planes


def _measure(attribution, boxes, segmentation):
    """Return the sums of positive attribution on the object inside the boxes, and inside the boxes."""
    inside = np.maximum(attribution, 0) * boxes
    return float((inside * segmentation).sum()), float(inside.sum())  # no BLAS: its threads compete for busy cores


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class OnObjectEpg(evaluate.Metric):
    """On-object energy pointing game of attribution maps, masks of boxes and segmentations."""

    def _info(self):
        """Describe the module."""
        plane = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(dict.fromkeys(_COLUMNS, plane)),
            reference_urls=["https://arxiv.org/abs/2303.11932"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a map; `features` describes what is passed: maps, which are not stored."""
        return datasets.Features(dict.fromkeys(_COLUMNS, datasets.Value("float64")))

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, segmentations=None, predictions=None, references=None):
        """Add one map; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference], segmentations=[segmentations])

    def add_batch(self, *, predictions=None, references=None, segmentations=None):
        """Add a batch, each map reduced to two numbers at once; if one is bad, nothing of the batch is kept."""
        columns = {"predictions": predictions, "references": references, "segmentations": segmentations}
        sums = [_measure(*planes) for planes in _checked(columns, first=len(self))]
        on_object, inside = [pair[0] for pair in sums], [pair[1] for pair in sums]
        super().add_batch(predictions=on_object, references=inside, segmentations=[0.0] * len(sums))

    def compute(self, *, predictions=None, references=None, segmentations=None, undefined="zero"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if undefined not in ("zero", "drop"):
            raise ValueError(f'undefined is {undefined!r}; allowed are "zero" (counts as 0) and "drop" (left out).')
        if any(column is not None for column in (predictions, references, segmentations)):
            self.add_batch(predictions=predictions, references=references, segmentations=segmentations)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(undefined=undefined)

    def _compute(self, *, predictions, references, segmentations, undefined):
        """Average the ratios of the stored sums; the third column is not used."""
        on_object, inside = np.asarray(predictions), np.asarray(references)
        if inside.size == 0:
            raise ValueError(_NOTHING)
        defined = inside >= _SMALLEST
        shares = on_object[defined] / inside[defined]
        maps = inside.size if undefined == "zero" else max(shares.size, 1)
        return {"on_object_epg": math.fsum(shares) / maps, "undefined_share": float(np.mean(~defined))}
