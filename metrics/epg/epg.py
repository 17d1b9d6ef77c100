"""Energy pointing game: the share of positive attribution that lies inside the mask."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Energy pointing game (EPG): the share of a map's positive attribution that lies inside the mask, averaged over pairs of
an attribution map and a mask. EPG = sum(M * max(A, 0)) / sum(max(A, 0)), eq. 2 of Rao et al. (2023). It can be
restricted to pairs whose masks have sizes in a range.
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
    undefined: what a map without positive attribution (sum below 1e-7) counts as: "zero" (default) or "drop".
    min_box_size: leave out pairs whose mask has fewer pixels; None (default) for no limit.
    max_box_size: leave out pairs whose mask has this many pixels or more; None (default) for no limit.
Returns:
    epg: mean share, from 0 to 1; 0 if "drop" leaves no pair, None if no mask has an allowed size.
    undefined_share: share of the maps without positive attribution, from 0 to 1; None if no mask has an allowed size.
Example:
    >>> metric = evaluate.load("metrics/epg")
    >>> metric.compute(predictions=[[[3.0, 1.0], [-5.0, 0.0]]], references=[[[1, 0], [1, 0]]])
    {'epg': 0.75, 'undefined_share': 0.0}
"""

_NOTHING = "No pair was added; pass predictions and references to add, add_batch or compute."
_SMALLEST = 1e-7  # as in the official code: with a smaller sum of positive attribution, EPG is undefined


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


def _measure(attribution, mask):
    """Return the sums of positive attribution inside the mask and in the whole map, and the mask's size in pixels."""
    positive = np.maximum(attribution, 0)
    sums = (positive * mask).sum(), positive.sum(), mask.sum()  # no BLAS: its threads compete for busy cores
    return tuple(map(float, sums))


def _limits(min_box_size, max_box_size):
    """Return the smallest allowed size in pixels, and the size from which on masks are too large."""
    low, high = 0 if min_box_size is None else min_box_size, math.inf if max_box_size is None else max_box_size
    if isinstance(low, str) or isinstance(high, str) or not 0 <= low < high:
        given = f"min_box_size is {min_box_size!r}, max_box_size is {max_box_size!r}"
        raise ValueError(f"{given}; allowed are None and numbers of pixels, 0 <= min_box_size < max_box_size.")
    return float(low), float(high)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Epg(evaluate.Metric):
    """Energy pointing game of attribution maps and masks."""

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
        number = datasets.Value("float64")
        return datasets.Features({"predictions": number, "references": datasets.Sequence(number)})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one pair; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of pairs, each reduced to three numbers at once; if one is bad, nothing of the batch is kept."""
        pairs = [_measure(*pair) for pair in _pairs(predictions, references, first=len(self))]
        super().add_batch(predictions=[pair[0] for pair in pairs], references=[pair[1:] for pair in pairs])

    def compute(self, *, predictions=None, references=None, undefined="zero", min_box_size=None, max_box_size=None):
        """Compute the metric over everything added. Bad options are refused first, and lose nothing of it."""
        low, high = _limits(min_box_size, max_box_size)
        if undefined not in ("zero", "drop"):
            raise ValueError(f'undefined is {undefined!r}; allowed are "zero" (counts as 0) and "drop" (left out).')
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(undefined=undefined, min_box_size=low, max_box_size=high)

    def _compute(self, *, predictions, references, undefined, min_box_size, max_box_size):
        """Average the ratios of the stored sums, over masks of the allowed sizes."""
        if len(predictions) == 0:
            raise ValueError(_NOTHING)
        total, size = np.asarray(references, dtype=np.float64).T
        allowed = (size >= min_box_size) & (size < max_box_size)
        inside, total = np.asarray(predictions)[allowed], total[allowed]
        if total.size == 0:
            return {"epg": None, "undefined_share": None}
        defined = total >= _SMALLEST
        shares = inside[defined] / total[defined]
        pairs = total.size if undefined == "zero" else max(shares.size, 1)
        return {"epg": math.fsum(shares) / pairs, "undefined_share": float(np.mean(~defined))}
