"""Question ranking: whether a model holds the sub-questions of a reasoning question for closer to it than others."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Ranking of the questions about an image by how similar a model's Grad-CAM vectors for them are to that of a reasoning
question: whether its sub-questions come before irrelevant questions (Dharur et al., 2020, section 4.1 and appendix A.1.1).
Equal similarities count against the model: of questions that tie, the irrelevant ones rank first.
"""

_CITATION = """\
@inproceedings{dharur2020sort,
  title = {{SOrT}-ing {VQA} Models: Contrastive Gradient Learning for Improved Consistency},
  author = {Dharur, Sameer and Tendulkar, Purva and Batra, Dhruv and Parikh, Devi and Selvaraju, Ramprasaath R.},
  booktitle = {Conference of the North American Chapter of the Association for Computational Linguistics (NAACL)},
  year = {2021}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: similarity of each question with the reasoning question, a finite number.
    references: 1 or True for a sub-question, 0 or False for an irrelevant question.
    group: the image and reasoning question that each question is ranked for, an integer or a string.
    wpr: "paper" (default) averages the differences within a group, and all groups; "official" sums them within a group,
        and averages the groups that have any.
    one_kind: groups without a sub-question, or without an irrelevant one: "raise" (default) an error, or "drop" them.
Returns:
    mp_at_1: share of the groups whose first question is a sub-question, from 0 to 1.
    ranking_accuracy: share of the groups whose sub-questions all come before the irrelevant questions, from 0 to 1.
    mrr: mean of 1 / rank of the first sub-question, from 0 to 1.
    wpr: mean difference of similarity where the order is wrong, at least 0; lower is better.
Example:
    >>> metric = evaluate.load("metrics/question_ranking")
    >>> metric.compute(predictions=[0.75, 0.5, 0.25], references=[1, 0, 1], group=["capital"] * 3)
    {'mp_at_1': 1.0, 'ranking_accuracy': 0.0, 'mrr': 1.0, 'wpr': 0.25}

    The examples of the paper's appendix:

    >>> places = {"predictions": [0.9, 0.8, 0.7] * 2, "group": ["query 1"] * 3 + ["query 2"] * 3}
    >>> metric.compute(**places, references=[0, 1, 0, 1, 0, 0])["mp_at_1"]
    0.5
    >>> metric.compute(**places, references=[0, 1, 0, 1, 0, 0])["mrr"]
    0.75
    >>> metric.compute(**places, references=[0, 1, 1, 1, 1, 0])["ranking_accuracy"]
    0.5
    >>> capitals = {"predictions": [0.9, 0.8, 0.7], "references": [1, 0, 1], "group": ["query"] * 3}
    >>> round(metric.compute(**capitals)["wpr"], 9), round(metric.compute(**capitals, wpr="official")["wpr"], 9)
    (0.1, 0.2)
"""

_NOTHING = "No question was added; pass predictions, references and group to add, add_batch or compute."
_FORMS = ("paper", "official")
_ONE_KIND = ("raise", "drop")


def _numpy(values):
    """Copy a torch tensor to NumPy, which has no bfloat16; anything else is returned as it is."""
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if "bfloat16" in str(values.dtype) else values).numpy()


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


def _similarity(value, name):
    """Return one similarity as a float."""
    try:
        number = np.asarray(_numpy(value), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {value!r:.60}; allowed is a finite number.") from error
    if number.shape != () or not np.isfinite(number):
        fix = "give one finite number for each question; the cosine with a vector of zeros is 0"
        raise ValueError(f"{name} is {value!r:.60}; {fix}.")
    return float(number)


def _relevant(value, name):
    """Return 1 for a sub-question, 0 for an irrelevant question."""
    value = _scalar(value, name)
    if value not in (0, 1):
        raise ValueError(f"{name} is {value!r}; allowed are 1 (a sub-question) and 0 (an irrelevant question).")
    return int(value)


def _ranked(questions):
    """Return the measures of one group of (similarity, 1 or 0): first, all first, 1 / rank, differences out of order."""
    ranked = sorted(questions, key=lambda question: (-question[0], question[1]))  # of a tie, the irrelevant ones first
    relevant = [kind for _, kind in ranked]
    wanted = [each for each in ranked if each[1]] + [each for each in ranked if not each[1]]
    moved = [abs(one[0] - other[0]) for one, other in zip(ranked, wanted, strict=True) if one[1] != other[1]]
    return relevant[0], float(not moved), 1 / (1 + relevant.index(1)), moved


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class QuestionRanking(evaluate.Metric):
    """Whether sub-questions rank before irrelevant questions."""

    def _info(self):
        """Describe the module."""
        types = {"predictions": "float64", "references": "int64", "group": "string"}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({name: datasets.Value(dtype) for name, dtype in types.items()}),
            reference_urls=["https://arxiv.org/abs/2010.10038"],
        )

    def add(self, *, prediction=None, reference=None, group=None, predictions=None, references=None):
        """Add one question; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference], group=[group])

    def add_batch(self, *, predictions=None, references=None, group=None):
        """Add a batch of questions; if one is bad, nothing of the batch is kept."""
        batch = {"predictions": predictions, "references": references, "group": group}
        missing = [name for name, column in batch.items() if isinstance(column, str) or not hasattr(column, "__len__")]
        if missing:
            raise ValueError(f"{missing} is missing or not a list; pass {list(batch)}, one of each per question.")
        if len({len(column) for column in batch.values()}) > 1:
            given = ", ".join(f"{len(column)} {name}" for name, column in batch.items())
            raise ValueError(f"Given were {given}; pass one of each for every question.")
        first, stored = len(self), {}
        for name, column in batch.items():
            read = {"predictions": _similarity, "references": _relevant, "group": _group}[name]
            stored[name] = [read(value, f"{name}[{row}]") for row, value in enumerate(_numpy(column), start=first)]
        super().add_batch(**stored)

    def compute(self, *, predictions=None, references=None, group=None, wpr="paper", one_kind="raise"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if wpr not in _FORMS:
            raise ValueError(f'wpr is {wpr!r}; allowed are "paper" and "official".')
        if one_kind not in _ONE_KIND:
            raise ValueError(f'one_kind is {one_kind!r}; allowed are "raise" and "drop".')
        if any(column is not None for column in (predictions, references, group)):
            self.add_batch(predictions=predictions, references=references, group=group)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(wpr=wpr, one_kind=one_kind)

    def _compute(self, *, predictions, references, group, wpr, one_kind):
        """Rank within the groups, then average over them."""
        if not group:
            raise ValueError(_NOTHING)
        groups = {}
        for name, similarity, relevant in zip(group, predictions, references, strict=True):
            groups.setdefault(name, []).append((similarity, relevant))
        whole = {name: each for name, each in groups.items() if len({kind for _, kind in each}) == 2}
        lacking = sorted(groups.keys() - whole.keys())
        if lacking and one_kind == "raise":
            fix = 'give both kinds of question, or one_kind="drop" to leave such groups out'
            raise ValueError(f"group: {lacking[:9]} have sub-questions only, or irrelevant questions only; {fix}.")
        if not whole:
            raise ValueError(
                "No group has both a sub-question and an irrelevant one, so that there is no order to measure."
            )
        first, all_first, reciprocal, moved = zip(*map(_ranked, whole.values()), strict=True)
        if wpr == "paper":
            losses = [math.fsum(each) / len(each) if each else 0.0 for each in moved]
        else:
            losses = [math.fsum(each) for each in moved if each] or [0.0]
        return {
            "mp_at_1": sum(first) / len(whole),
            "ranking_accuracy": sum(all_first) / len(whole),
            "mrr": math.fsum(reciprocal) / len(whole),
            "wpr": math.fsum(losses) / len(losses),
        }
