"""Faithfulness: how a predicted probability falls when only the most attributed places are kept, or when they are removed."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Explanation faithfulness (DeYoung et al., 2020): how far the probability of the predicted class falls when only the most
attributed places of the input are kept (sufficiency) and when they are removed (comprehensiveness), averaged over
sparsity levels, such as the top 10, 25 and 50 percent of the places, then over data points.
"""

_CITATION = """\
@inproceedings{deyoung2020eraser,
  title = {{ERASER}: A Benchmark to Evaluate Rationalized {NLP} Models},
  author = {DeYoung, Jay and Jain, Sarthak and Rajani, Nazneen Fatema and Lehman, Eric and Xiong, Caiming and
            Socher, Richard and Wallace, Byron C.},
  booktitle = {Annual Meeting of the Association for Computational Linguistics (ACL)},
  year = {2020}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    full_probability: probability of the predicted class on the full input, in [0, 1], one per data point.
    kept_probabilities: its probability where only the top places are kept, a list with one number per sparsity level.
    removed_probabilities: its probability where the top places are removed, for the same levels.
Returns:
    sufficiency: mean of full_probability - kept_probabilities, from -1 to 1, lower is better.
    comprehensiveness: mean of full_probability - removed_probabilities, from -1 to 1, higher is better.
Example:
    >>> metric = evaluate.load("metrics/faithfulness")
    >>> metric.compute(full_probability=[0.75], kept_probabilities=[[0.5, 0.75]], removed_probabilities=[[0.25, 0.0]])
    {'sufficiency': 0.125, 'comprehensiveness': 0.625}
"""

_NOTHING = "No data point was added; pass full_probability, kept_probabilities and removed_probabilities."


def _numpy(values):
    """Copy a torch tensor to NumPy, which has no bfloat16; anything else is returned as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


def _probabilities(values, name, axes):
    """Return a number or a list of numbers in [0, 1] as an array."""
    try:
        numbers = np.asarray(_numpy(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {values!r}; allowed are numbers in [0, 1].") from error
    if numbers.ndim != axes or numbers.size == 0:
        allowed = "(levels,), at least 1" if axes else "(), one number"
        raise ValueError(f"{name} has shape {numbers.shape}; allowed is {allowed}.")
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"{name} is {values!r}; allowed are numbers in [0, 1]: probabilities, not logits.")
    return numbers


def _rows(full, kept, removed, first):
    """Yield (sufficiency, comprehensiveness); `first` is the number of the first data point, for errors."""
    columns = {"full_probability": full, "kept_probabilities": kept, "removed_probabilities": removed}
    columns = {name: _numpy(column) for name, column in columns.items()}
    missing = [name for name, column in columns.items() if not hasattr(column, "__len__")]
    if missing:
        raise ValueError(f"{missing} is missing or not a list; pass {list(columns)}, with one item per data point.")
    if len({len(column) for column in columns.values()}) > 1:
        given = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
        raise ValueError(f"Given were {given}; pass one of each for every data point.")
    for row, given in enumerate(zip(*columns.values(), strict=True), start=first):
        names = [f"{name}[{row}]" for name in columns]
        full, kept, removed = (_probabilities(*item, axes) for *item, axes in zip(given, names, (0, 1, 1), strict=True))
        if len(kept) != len(removed):
            given = f"{names[1]} has {len(kept)} levels but {names[2]} has {len(removed)}"
            raise ValueError(f"{given}; both must have the same.")
        yield float(full - kept.mean()), float(full - removed.mean())


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Faithfulness(evaluate.Metric):
    """Sufficiency and comprehensiveness of attributions."""

    def _info(self):
        """Describe the module."""
        number = datasets.Value("float64")
        features = {
            "full_probability": number,
            "kept_probabilities": datasets.Sequence(number),
            "removed_probabilities": datasets.Sequence(number),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(features),
            reference_urls=["https://arxiv.org/abs/1911.03429", "https://arxiv.org/abs/2206.11212"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a data point: two drops (the first column is 0); `features` describes what is passed."""
        return datasets.Features({name: datasets.Value("float64") for name in self.features})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, full_probability=None, kept_probabilities=None, removed_probabilities=None):
        """Add one data point."""
        self.add_batch(
            full_probability=[full_probability],
            kept_probabilities=[kept_probabilities],
            removed_probabilities=[removed_probabilities],
        )

    def add_batch(self, *, full_probability=None, kept_probabilities=None, removed_probabilities=None):
        """Add a batch of data points, each reduced to two numbers; if one is bad, nothing of the batch is kept."""
        drops = list(_rows(full_probability, kept_probabilities, removed_probabilities, first=len(self)))
        super().add_batch(
            full_probability=[0.0] * len(drops),
            kept_probabilities=[drop[0] for drop in drops],
            removed_probabilities=[drop[1] for drop in drops],
        )

    def compute(self, *, full_probability=None, kept_probabilities=None, removed_probabilities=None):
        """Compute the metrics over everything added."""
        columns = (full_probability, kept_probabilities, removed_probabilities)
        if any(column is not None for column in columns):
            self.add_batch(**dict(zip(self.features, columns, strict=True)))
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute()

    def _compute(self, *, full_probability, kept_probabilities, removed_probabilities):
        """Average the stored drops."""
        points = len(full_probability)
        if not points:
            raise ValueError(_NOTHING)
        return {
            "sufficiency": math.fsum(kept_probabilities) / points,
            "comprehensiveness": math.fsum(removed_probabilities) / points,
        }
