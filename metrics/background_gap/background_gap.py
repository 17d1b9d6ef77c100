"""Background gap: how much accuracy a classifier loses when backgrounds are of random instead of the right classes."""

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Accuracy on the objects of ImageNet-9 before backgrounds of their own class (mixed_same) and of random classes
(mixed_rand), in percent, and the difference of the two, in percent points (Xiao et al., 2021).
"""

_CITATION = """\
@inproceedings{xiao2021noise,
  title = {Noise or Signal: The Role of Image Backgrounds in Object Recognition},
  author = {Xiao, Kai and Engstrom, Logan and Ilyas, Andrew and Madry, Aleksander},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2021}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: predicted labels, integers; with class_map those of ImageNet's 1,000 classes.
    references: true labels, integers, at least 0.
    variant: "mixed_same" or "mixed_rand" for each sample.
    class_map: the content of in_to_in9.json, {class: label}, or a list with the label of each class; -1 is always wrong.
Returns:
    mixed_same, mixed_rand: accuracy of the samples of this variant, in percent.
    bg_gap: mixed_same - mixed_rand, in percent points.
Example:
    >>> metric = evaluate.load("metrics/background_gap")
    >>> metric.compute(predictions=[0, 1], references=[0, 0], variant=["mixed_same", "mixed_rand"])["bg_gap"]
    100.0
"""

_NOTHING = "No sample was added; pass predictions, references and variant to add, add_batch or compute."
_VARIANTS = ("mixed_same", "mixed_rand")
_WRONG = -1


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


def _reference(value, name):
    """Return one true label; -1 is none, since it would make predictions right that are always wrong."""
    label = _label(value, name)
    if label < 0:
        raise ValueError(f"{name} is {label}; allowed is an integer, at least 0: leave samples without a label out.")
    return label


def _variant(value, name):
    """Return the name of one variant."""
    value = _scalar(value, name)
    if value not in _VARIANTS:
        fix = "leave samples of other variants out, whose accuracy group_accuracy gives"
        raise ValueError(f"{name} is {value!r}; allowed are {' and '.join(map(repr, _VARIANTS))}: {fix}.")
    return value


def _labels(class_map):
    """Return {class: label}, checked; None if no map was given."""
    if class_map is None:
        return None
    if isinstance(class_map, (str, bytes)) or not (hasattr(class_map, "items") or hasattr(class_map, "__len__")):
        fix = "read it, as json.loads(Path('in_to_in9.json').read_text())"
        raise ValueError(f"class_map is {class_map!r}; allowed is {{class: label}} or a list of labels: {fix}.")
    pairs = class_map.items() if hasattr(class_map, "items") else enumerate(class_map)
    labels = {}
    for key, value in pairs:
        if not str(key).isdecimal():
            raise ValueError(f"class_map has the key {key!r}; allowed are the numbers of classes, 0 and up.")
        labels[int(key)] = _label(value, f"class_map[{key!r}]")
    bad = {key: value for key, value in labels.items() if value < _WRONG}
    if bad or not labels:
        raise ValueError(f"class_map holds {bad}; allowed are labels from 0, and {_WRONG} for a class of no label.")
    return labels


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class BackgroundGap(evaluate.Metric):
    """Accuracy by kind of background, and the gap."""

    def _info(self):
        """Describe the module."""
        types = {"predictions": "int64", "references": "int64", "variant": "string"}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value(dtype) for name, dtype in types.items()}),
            reference_urls=["https://arxiv.org/abs/2006.09994"],
        )

    def add(self, *, prediction=None, reference=None, variant=None, predictions=None, references=None):
        """Add one sample; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference], variant=[variant])

    def add_batch(self, *, predictions=None, references=None, variant=None):
        """Add a batch of samples; if one is bad, nothing of the batch is kept."""
        batch = {"predictions": predictions, "references": references, "variant": variant}
        missing = [name for name, column in batch.items() if column is None]
        if missing:
            raise ValueError(f"{missing} is missing; pass predictions, references and variant, one of each per sample.")
        if isinstance(variant, str):
            raise ValueError(f"variant is {variant!r}; pass one for every sample, as [{variant!r}] * len(predictions).")
        if len({len(column) for column in batch.values()}) > 1:
            given = ", ".join(f"{len(column)} {name}" for name, column in batch.items())
            raise ValueError(f"Given were {given}; pass one of each for every sample.")
        first, stored = len(self), {}
        for name, column in batch.items():
            read = {"predictions": _label, "references": _reference, "variant": _variant}[name]
            column = column.detach().cpu() if hasattr(column, "detach") else column
            column = column.tolist() if hasattr(column, "tolist") else column
            stored[name] = [read(value, f"{name}[{row}]") for row, value in enumerate(column, start=first)]
        super().add_batch(**stored)

    def compute(self, *, predictions=None, references=None, variant=None, class_map=None):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        labels = _labels(class_map)
        if any(column is not None for column in (predictions, references, variant)):
            self.add_batch(predictions=predictions, references=references, variant=variant)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(class_map=labels)

    def _compute(self, *, predictions, references, variant, class_map):
        """Average within the variants."""
        if not variant:
            raise ValueError(_NOTHING)
        unknown = sorted(set(predictions) - set(predictions if class_map is None else class_map))
        if unknown:
            fix = f"give the label of each class that the model knows, {_WRONG} where there is none"
            raise ValueError(f"class_map lacks the predicted classes {unknown[:9]}: {fix}.")
        labels = predictions if class_map is None else [class_map[label] for label in predictions]
        correct, variant = np.equal(labels, references), np.asarray(variant)
        missing = [name for name in _VARIANTS if not (variant == name).any()]
        if missing:
            raise ValueError(
                f"No sample is of variant {missing[0]!r}; add the samples of both {' and '.join(_VARIANTS)}."
            )
        percent = {name: float(100 * correct[variant == name].mean()) for name in _VARIANTS}
        return {**percent, "bg_gap": percent["mixed_same"] - percent["mixed_rand"]}
