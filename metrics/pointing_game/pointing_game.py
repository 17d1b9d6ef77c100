"""Pointing game: the share of maps whose maximum lies in the mask."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Pointing game: the share of pairs whose maximum attribution lies in the mask, or at most `tolerance` pixels from it
(Zhang et al., 2016). Of equal maxima the first counts, line by line from the top; a map without positive attribution is a miss.
"""

_CITATION = """\
@inproceedings{zhang2016topdown,
  title = {Top-down Neural Attention by Excitation Backprop},
  author = {Zhang, Jianming and Lin, Zhe and Brandt, Jonathan and Shen, Xiaohui and Sclaroff, Stan},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2016}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: attribution maps, (height, width) each, any sign; a list or one (pairs, height, width) array or tensor.
    references: masks in [0, 1], one for each map and of its size.
    tolerance: largest Euclidean distance in pixels from the maximum to the mask that is a hit, 0 by default.
Returns:
    pointing_game: share of hits, from 0 to 1.
Example:
    >>> metric = evaluate.load("metrics/pointing_game")
    >>> metric.compute(predictions=[[[0.2, 0.9], [0.1, -3.0]]], references=[[[0, 1], [0, 0]]])
    {'pointing_game': 1.0}
"""

_NOTHING = "No pair was added; pass predictions and references to add, add_batch or compute."


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
    """Return the distance in pixels from the maximum to the mask (infinity if the mask is empty), and the maximum."""
    row, column = np.unravel_index(attribution.argmax(), attribution.shape)
    inside = mask > 0.5
    distance = 0.0 if inside[row, column] else math.inf
    if distance and inside.any():
        down, right = np.ogrid[: mask.shape[0], : mask.shape[1]]
        distance = math.sqrt(np.min(((down - row) ** 2 + (right - column) ** 2)[inside]))
    return distance, float(attribution[row, column])


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PointingGame(evaluate.Metric):
    """Pointing game of attribution maps and masks."""

    def _info(self):
        """Describe the module."""
        plane = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": plane, "references": plane}),
            reference_urls=["https://arxiv.org/abs/1608.00507"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a pair; `features` describes what is passed: maps, which are not stored."""
        return datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one pair; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of pairs, each reduced to two numbers at once; if one is bad, nothing of the batch is kept."""
        pairs = [_measure(*pair) for pair in _pairs(predictions, references, first=len(self))]
        super().add_batch(predictions=[pair[0] for pair in pairs], references=[pair[1] for pair in pairs])

    def compute(self, *, predictions=None, references=None, tolerance=0):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if isinstance(tolerance, str) or not 0 <= tolerance < math.inf:
            raise ValueError(f"tolerance is {tolerance!r}; allowed is a finite number of pixels, at least 0.")
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(tolerance=tolerance)

    def _compute(self, *, predictions, references, tolerance):
        """Count the hits among the stored distances."""
        distance, maximum = np.asarray(predictions), np.asarray(references)
        if maximum.size == 0:
            raise ValueError(_NOTHING)
        return {"pointing_game": float(np.mean((distance <= tolerance) & (maximum > 0)))}
