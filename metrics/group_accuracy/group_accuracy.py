"""Group accuracy: accuracy of the worst group, of the groups on average, and weighted by training group sizes."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Accuracy within groups of samples, e.g. the four pairs of bird and background of Waterbirds: the worst group, the mean
of the groups, all samples together, and the groups weighted by their size in training (Sagawa et al., 2020).
"""

_CITATION = """\
@inproceedings{sagawa2020distributionally,
  title = {Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization for
           Worst-Case Generalization},
  author = {Sagawa, Shiori and Koh, Pang Wei and Hashimoto, Tatsunori B. and Liang, Percy},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2020}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: predicted labels, integers.
    references: true labels, integers.
    groups: group of each sample, an integer or a string.
    train_group_counts: {group: number of training samples}; without it adjusted_accuracy equals accuracy.
Returns:
    worst_group_accuracy, mean_group_accuracy: lowest and mean accuracy of the groups that have samples.
    accuracy: accuracy of all samples.
    adjusted_accuracy: mean accuracy of the groups, weighted by train_group_counts.
    groups: {group as a string: {"accuracy": .., "count": ..}}; the accuracy is None where the count is 0.
Example:
    >>> metric = evaluate.load("metrics/group_accuracy")
    >>> metric.compute(predictions=[1, 1, 0], references=[1, 1, 1], groups=[0, 0, 1])["worst_group_accuracy"]
    0.0
"""

_NOTHING = "No sample was added; pass predictions, references and groups to add, add_batch or compute."


def _scalar(value, name):
    """Return one Python number or string."""
    value = value.detach().cpu() if hasattr(value, "detach") else value
    if np.shape(value) != ():
        fix = "one label for each sample is allowed: take the argmax of the logits"
        raise ValueError(f"{name} has shape {tuple(np.shape(value))}; {fix}.")
    return value.item() if hasattr(value, "item") else value


def _label(value, name, allowed="an integer"):
    """Return one label as an integer."""
    value = _scalar(value, name)
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ValueError(f"{name} is {value!r}; allowed is {allowed}: map the names of classes to indices.")


def _group(value, name):
    """Return the name of one group as a string, the same for 1, 1.0 and "1"."""
    value = _scalar(value, name)
    return value if isinstance(value, str) else str(_label(value, name, "an integer or a string"))


def _counts(train_group_counts):
    """Return {group as a string: training samples}, checked; None if no counts were given."""
    if train_group_counts is None:
        return None
    if not hasattr(train_group_counts, "items"):
        raise ValueError(f"train_group_counts is {train_group_counts!r}; allowed is {{group: training samples}}.")
    counts = {
        _group(group, f"key {group!r} of train_group_counts"): _scalar(n, f"train_group_counts[{group!r}]")
        for group, n in train_group_counts.items()
    }
    bad = {group: n for group, n in counts.items() if not isinstance(n, (int, float)) or not 0 <= n < math.inf}
    if bad:
        raise ValueError(f"train_group_counts holds {bad}; allowed are finite numbers, at least 0.")
    return counts


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class GroupAccuracy(evaluate.Metric):
    """Accuracy within groups."""

    def _info(self):
        """Describe the module."""
        types = {"predictions": "int64", "references": "int64", "groups": "string"}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value(dtype) for name, dtype in types.items()}),
            reference_urls=["https://arxiv.org/abs/1911.08731"],
        )

    def add(self, *, prediction=None, reference=None, groups=None, predictions=None, references=None):
        """Add one sample; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference], groups=[groups])

    def add_batch(self, *, predictions=None, references=None, groups=None):
        """Add a batch of samples; if one is bad, nothing of the batch is kept."""
        batch = {"predictions": predictions, "references": references, "groups": groups}
        missing = [name for name, column in batch.items() if column is None]
        if missing:
            raise ValueError(f"{missing} is missing; pass predictions, references and groups, one of each per sample.")
        if len({len(column) for column in batch.values()}) > 1:
            given = ", ".join(f"{len(column)} {name}" for name, column in batch.items())
            raise ValueError(f"Given were {given}; pass one of each for every sample.")
        first, stored = len(self), {}
        for name, column in batch.items():
            read = _group if name == "groups" else _label
            column = column.detach().cpu() if hasattr(column, "detach") else column
            column = column.tolist() if hasattr(column, "tolist") else column
            stored[name] = [read(value, f"{name}[{row}]") for row, value in enumerate(column, start=first)]
        super().add_batch(**stored)

    def compute(self, *, predictions=None, references=None, groups=None, train_group_counts=None):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        counts = _counts(train_group_counts)
        if any(column is not None for column in (predictions, references, groups)):
            self.add_batch(predictions=predictions, references=references, groups=groups)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(train_group_counts=counts)

    def _compute(self, *, predictions, references, groups, train_group_counts):
        """Average within groups, then over them."""
        if not groups:
            raise ValueError(_NOTHING)
        names, index = np.unique(groups, return_inverse=True)
        correct = np.bincount(index, weights=np.equal(predictions, references)).tolist()
        count = dict(zip(names.tolist(), np.bincount(index).tolist(), strict=True))
        accuracy = {name: right / count[name] for name, right in zip(count, correct, strict=True)}
        weights = count if train_group_counts is None else train_group_counts
        unknown = sorted(set(accuracy) - set(weights))
        total = math.fsum(weights.get(name, 0) for name in accuracy)
        if unknown or total == 0:
            fix = "give the training samples of every evaluated group, 0 where there were none, not all of them 0"
            raise ValueError(f"train_group_counts is {weights}, the evaluated groups are {sorted(accuracy)}: {fix}.")
        everything = sorted({**accuracy, **weights}, key=lambda name: (len(name), name))
        return {
            "worst_group_accuracy": min(accuracy.values()),
            "mean_group_accuracy": math.fsum(accuracy.values()) / len(accuracy),
            "accuracy": sum(correct) / len(groups),
            "adjusted_accuracy": math.fsum(weights[name] * accuracy[name] for name in accuracy) / total,
            "groups": {name: {"accuracy": accuracy.get(name), "count": count.get(name, 0)} for name in everything},
        }
