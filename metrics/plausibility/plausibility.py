"""Plausibility: rank correlation of attributions with what people call important."""

import math

import datasets
import evaluate
import numpy as np
from scipy.stats import rankdata

_DESCRIPTION = """
Explanation plausibility: Spearman's rank correlation between a model's attribution of the places of an input (boxes, or the
cells of a grid) and the importance that people give them, averaged over data points (Ying et al., 2022).
"""

_CITATION = """\
@inproceedings{ying2022visfis,
  title = {{VisFIS}: Visual Feature Importance Supervision with Right-for-the-Right-Reason Objectives},
  author = {Ying, Zhuofan and Hase, Peter and Bansal, Mohit},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: attributions, one vector per data point, any sign; a list or one (points, places) array or tensor.
    references: importance by people, one vector for each attribution and of its length.
Returns:
    plausibility: mean rank correlation, from -1 to 1, over the data points where it is defined; None without any.
    undefined_share: share of the data points whose attribution or importance is constant and that are left out, from 0 to 1.
Example:
    >>> metric = evaluate.load("metrics/plausibility")
    >>> metric.compute(predictions=[[0.1, 0.5, 0.2]], references=[[0.0, 0.9, 0.8]])
    {'plausibility': 1.0, 'undefined_share': 0.0}
"""

_NOTHING = "No pair was added; pass predictions and references to add, add_batch or compute."


def _numpy(values):
    """Copy a torch tensor to NumPy, which has no bfloat16; anything else is returned as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def _vector(values, name):
    """Return one vector as a finite float64 array."""
    try:
        vector = np.asarray(_numpy(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not an array of numbers ({error}); pass one number for each place.") from error
    if vector.ndim != 1 or vector.size == 0:
        fix = "flatten a map, and pass a batch as (points, places) or a list"
        raise ValueError(f"{name} has shape {vector.shape}; allowed is (places,), at least 1: {fix}.")
    if not np.isfinite(vector).all():
        bad = np.count_nonzero(~np.isfinite(vector))
        raise ValueError(f"{name} holds NaN or infinity in {bad} of {vector.size} places; allowed are finite numbers.")
    return vector


def _pairs(predictions, references, first):
    """Yield (attribution, importance); `first` is the number of the first pair, for error messages."""
    predictions, references = _numpy(predictions), _numpy(references)
    for name, given in (("predictions", predictions), ("references", references)):
        if not hasattr(given, "__len__"):
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is a list of vectors or one array.")
    if len(predictions) != len(references):
        given = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"Given were {given}; pass one importance vector for each attribution.")
    for row, (attribution, importance) in enumerate(zip(predictions, references, strict=True), start=first):
        attribution = _vector(attribution, f"predictions[{row}]")
        importance = _vector(importance, f"references[{row}]")
        if len(attribution) != len(importance):
            given = f"predictions[{row}] has {len(attribution)} places but references[{row}] has {len(importance)}"
            raise ValueError(f"{given}; both must have the same: cut padding off both.")
        yield attribution, importance


def _measure(attribution, importance):
    """Return Spearman's correlation: Pearson's of the ranks (ties share their mean rank); NaN if a vector is constant."""
    first, second = (rankdata(vector) - (len(vector) + 1) / 2 for vector in (attribution, importance))
    scale = math.sqrt(float((first * first).sum()) * float((second * second).sum()))
    return max(-1.0, min(1.0, float((first * second).sum()) / scale)) if scale else math.nan


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Plausibility(evaluate.Metric):
    """Rank correlation of attributions with importance by people."""

    def _info(self):
        """Describe the module."""
        vector = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": vector, "references": vector}),
            reference_urls=["https://arxiv.org/abs/2206.11212"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a pair: its correlation (0 where undefined), and whether it is defined."""
        return datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one pair; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of pairs, each reduced to two numbers at once; if one is bad, nothing of the batch is kept."""
        correlations = np.array([_measure(*pair) for pair in _pairs(predictions, references, first=len(self))])
        stored = np.nan_to_num(correlations).tolist(), (~np.isnan(correlations)).astype(np.float64).tolist()
        super().add_batch(predictions=stored[0], references=stored[1])

    def compute(self, *, predictions=None, references=None):
        """Compute the metric over everything added."""
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute()

    def _compute(self, *, predictions, references):
        """Average the stored correlations that are defined."""
        if not len(predictions):
            raise ValueError(_NOTHING)
        defined = int(sum(references))
        plausibility = math.fsum(predictions) / defined if defined else None
        return {"plausibility": plausibility, "undefined_share": 1 - defined / len(predictions)}
