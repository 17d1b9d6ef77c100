"""RRR metrics: accuracy, confidence and invariance of a model on what people call important, and on the rest."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Right-for-the-right-reason metrics of Ying et al. (2022): accuracy given only what people marked as important (RRR-Suff),
the largest predicted probability given only the rest (RRR-Unc), and how often the prediction given what is important
stays the same when a random part of the rest is shown too (RRR-Inv).
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
    important_accuracy: score of the prediction given only what is important, in [0, 1], one per data point.
    unimportant_confidence: largest predicted probability given only what is unimportant, in [0, 1].
    invariance: for each random part of what is unimportant, whether the prediction stays the same when this part is shown
        beside what is important; a list of booleans per data point, or their mean.
    has_important: whether anything is important in the data point, booleans; all True by default.
    without_important: "drop" (default) leaves data points without anything important out, "keep" counts them.
Returns:
    rrr_suff: mean of important_accuracy, from 0 to 1; None where every data point is left out.
    rrr_unc: mean of unimportant_confidence, from 0 to 1, lower is better; None as above.
    rrr_inv: mean of invariance, from 0 to 1; None as above.
    excluded_share: share of the data points that were left out, from 0 to 1.
Example:
    >>> metric = evaluate.load("metrics/rrr")
    >>> metric.compute(important_accuracy=[1, 0], unimportant_confidence=[0.5, 0.25], invariance=[[True], [False]])
    {'rrr_suff': 0.5, 'rrr_unc': 0.375, 'rrr_inv': 0.5, 'excluded_share': 0.0}
"""

_NOTHING = (
    "No data point was added; pass important_accuracy, unimportant_confidence and invariance to add_batch or compute."
)


def _numpy(values):
    """Copy a torch tensor to NumPy, which has no bfloat16; anything else is returned as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def _share(value, name):
    """Return one number in [0, 1]; of several numbers, their mean."""
    try:
        numbers = np.asarray(_numpy(value), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {value!r}; allowed are numbers in [0, 1].") from error
    if numbers.ndim > (1 if name.startswith("invariance") else 0) or numbers.size == 0:
        raise ValueError(
            f"{name} has shape {numbers.shape}; allowed is one number, for invariance a list of numbers too."
        )
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"{name} is {value!r}; allowed are numbers in [0, 1]: probabilities, not logits.")
    return float(numbers.mean())


def _truth(value, name):
    """Return one boolean."""
    number = _share(value, name)
    if number not in (0, 1):
        raise ValueError(f"{name} is {value!r}; allowed are True and False.")
    return bool(number)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Rrr(evaluate.Metric):
    """Right-for-the-right-reason metrics of models with human importance."""

    def _info(self):
        """Describe the module."""
        share = datasets.Value("float64")
        features = {
            "important_accuracy": share,
            "unimportant_confidence": share,
            "invariance": datasets.Sequence(share),
            "has_important": datasets.Value("bool"),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(features),
            reference_urls=["https://arxiv.org/abs/2206.11212"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a data point, one number per input; `features` describes what is passed."""
        return datasets.Features({name: datasets.Value("float64") for name in self.features})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, important_accuracy=None, unimportant_confidence=None, invariance=None, has_important=True):
        """Add one data point."""
        self.add_batch(
            important_accuracy=[important_accuracy],
            unimportant_confidence=[unimportant_confidence],
            invariance=[invariance],
            has_important=[has_important],
        )

    def add_batch(self, *, important_accuracy=None, unimportant_confidence=None, invariance=None, has_important=None):
        """Add a batch of data points; if one is bad, nothing of the batch is kept."""
        columns = {
            "important_accuracy": important_accuracy,
            "unimportant_confidence": unimportant_confidence,
            "invariance": invariance,
        }
        missing = [name for name, column in columns.items() if not hasattr(column, "__len__")]
        if missing:
            raise ValueError(f"{missing} is missing or not a list; pass {list(columns)}, with one item per data point.")
        columns["has_important"] = [True] * len(important_accuracy) if has_important is None else has_important
        if len({len(column) for column in columns.values()}) > 1:
            given = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
            raise ValueError(f"Given were {given}; pass one of each for every data point.")
        first, stored = len(self), {}
        for name, column in columns.items():
            read = _truth if name == "has_important" else _share
            stored[name] = [float(read(value, f"{name}[{row}]")) for row, value in enumerate(_numpy(column), first)]
        super().add_batch(**stored)

    def compute(self, *, without_important="drop", **columns):
        """Compute the metrics over everything added. A bad option is refused first, and loses nothing of it."""
        if without_important not in ("drop", "keep"):
            raise ValueError(f'without_important is {without_important!r}; allowed are "drop" and "keep".')
        columns = {name: column for name, column in columns.items() if column is not None}
        unknown = sorted(set(columns) - set(self.features))
        if unknown:
            raise ValueError(f"{unknown} is unknown; allowed are {[*self.features, 'without_important']}.")
        if columns:
            self.add_batch(**columns)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(without_important=without_important)

    def _compute(self, *, important_accuracy, unimportant_confidence, invariance, has_important, without_important):
        """Average over the data points that count."""
        if not len(has_important):
            raise ValueError(_NOTHING)
        counts = np.asarray(has_important) > 0 if without_important == "drop" else np.ones(len(has_important), bool)
        columns = (important_accuracy, unimportant_confidence, invariance)
        number = int(counts.sum())
        suff, unc, inv = (math.fsum(np.asarray(column)[counts]) / number if number else None for column in columns)
        return {"rrr_suff": suff, "rrr_unc": unc, "rrr_inv": inv, "excluded_share": float(np.mean(~counts))}
