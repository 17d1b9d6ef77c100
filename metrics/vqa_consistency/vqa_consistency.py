"""VQA consistency: how often a model that answers a reasoning question rightly also answers what it rests on."""

import math

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """
Consistency of a model that answers questions about images: the share of sub-questions that it answers rightly among those
whose reasoning question it answers rightly, the four quadrants of right and wrong, and the accuracy of the reasoning
questions (Selvaraju et al., 2020; Dharur et al., 2020). All pairs of reasoning question and sub-question are pooled.
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
    predictions: predicted label of each question, an integer.
    references: the soft scores of all answers of each question, a list of numbers in [0, 1]; or its label, an integer.
    role: "reasoning", "sub" or "irrelevant" for each question; irrelevant questions count in nothing.
    group: the id of the reasoning question that each question belongs to, an integer or a string.
    correctness: "hard" (default): right or wrong, by the answer with the highest score; "soft": the score of the prediction.
Returns:
    r_right_s_right, r_right_s_wrong, r_wrong_s_right, r_wrong_s_wrong: shares of the pairs of reasoning question (r) and
        sub-question (s), from 0 to 1; their sum is 1.
    consistency: r_right_s_right / (r_right_s_right + r_right_s_wrong); None where no reasoning question is right.
    reasoning_accuracy: mean correctness of the reasoning questions, each counted once.
Example:
    >>> metric = evaluate.load("metrics/vqa_consistency")
    >>> metric.compute(predictions=[1, 0], references=[1, 1], role=["reasoning", "sub"], group=[7, 7])["consistency"]
    0.0
"""

_NOTHING = "No question was added; pass predictions, references, role and group to add, add_batch or compute."
_ROLES = ("reasoning", "sub", "irrelevant")
_CORRECTNESS = ("hard", "soft")


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


def _role(value, name):
    """Return the role of one question."""
    value = _scalar(value, name)
    if value not in _ROLES:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, _ROLES))}.")
    return value


def _scores(value, name):
    """Return the soft scores of all answers of one question, or its label as an integer."""
    if value is None:
        raise ValueError(f"{name} is None; allowed are the scores of all answers, or a label: leave the question out.")
    try:
        scores = np.asarray(_numpy(value), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {value!r:.60}; allowed are the scores of all answers, or a label.") from error
    if scores.ndim == 0:
        label = _label(value, name, "a label, an integer, or the scores of all answers")
        if label < 0:
            raise ValueError(f"{name} is {label}; allowed is a label, at least 0: leave questions without a label out.")
        return label
    if scores.ndim > 1 or not scores.size:
        raise ValueError(f"{name} has shape {scores.shape}; allowed is one score for each answer, or a label.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"{name} holds scores from {scores.min()} to {scores.max()}; allowed are numbers in [0, 1].")
    return scores


def _correct(label, scores, row):
    """Return whether a prediction is the best answer, and its soft score; a question without any score is answered wrong."""
    if isinstance(scores, int):
        return float(label == scores), float(label == scores)
    if not 0 <= label < scores.size:
        fix = "give every question the scores of all answers that the model knows"
        raise ValueError(f"predictions[{row}] is {label}, but references[{row}] has {scores.size} scores; {fix}.")
    return float(scores.any() and label == scores.argmax()), float(scores[label])


def _reasoning(questions):
    """Return {group: correctness of its reasoning question}."""
    found, twice = {}, set()
    for kind, name, right in questions:
        if kind == "reasoning":
            twice |= {name} & found.keys()
            found[name] = right
    if twice:
        fix = "add each reasoning question once, however many sub-questions it has, and give each an id of its own"
        raise ValueError(f"group: {sorted(twice)[:9]} have two reasoning questions; {fix}.")
    return found


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class VqaConsistency(evaluate.Metric):
    """Agreement of right answers to reasoning questions with right answers to their sub-questions."""

    def _info(self):
        """Describe the module."""
        types = {"role": "string", "group": "string"}
        features = {
            "predictions": datasets.Value("int64"),
            "references": datasets.Sequence(datasets.Value("float64")),
            **{name: datasets.Value(dtype) for name, dtype in types.items()},
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(features),
            reference_urls=["https://arxiv.org/abs/2010.10038", "https://arxiv.org/abs/2001.06927"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a question: hard and soft correctness, role and group."""
        types = {"predictions": "float64", "references": "float64", "role": "string", "group": "string"}
        return datasets.Features({name: datasets.Value(dtype) for name, dtype in types.items()})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, role=None, group=None, predictions=None, references=None):
        """Add one question; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference], role=[role], group=[group])

    def add_batch(self, *, predictions=None, references=None, role=None, group=None):
        """Add a batch of questions, each reduced to its correctness at once; if one is bad, nothing is kept."""
        batch = {"predictions": predictions, "references": references, "role": role, "group": group}
        missing = [name for name, column in batch.items() if isinstance(column, str) or not hasattr(column, "__len__")]
        if missing:
            raise ValueError(f"{missing} is missing or not a list; pass {list(batch)}, one of each per question.")
        if len({len(column) for column in batch.values()}) > 1:
            given = ", ".join(f"{len(column)} {name}" for name, column in batch.items())
            raise ValueError(f"Given were {given}; pass one of each for every question.")
        first, read = len(self), {}
        for name, column in batch.items():
            reader = {"predictions": _label, "references": _scores, "role": _role, "group": _group}[name]
            read[name] = [reader(value, f"{name}[{row}]") for row, value in enumerate(_numpy(column), start=first)]
        pairs = zip(read["predictions"], read["references"], strict=True)
        correct = [_correct(label, scores, row) for row, (label, scores) in enumerate(pairs, start=first)]
        hard, soft = ([each[kind] for each in correct] for kind in (0, 1))
        super().add_batch(predictions=hard, references=soft, role=read["role"], group=read["group"])

    def compute(self, *, predictions=None, references=None, role=None, group=None, correctness="hard"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if correctness not in _CORRECTNESS:
            raise ValueError(f'correctness is {correctness!r}; allowed are "hard" and "soft".')
        if any(column is not None for column in (predictions, references, role, group)):
            self.add_batch(predictions=predictions, references=references, role=role, group=group)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(correctness=correctness)

    def _compute(self, *, predictions, references, role, group, correctness):
        """Pool the pairs of all groups."""
        if not role:
            raise ValueError(_NOTHING)
        correct = predictions if correctness == "hard" else references
        questions = list(zip(role, group, correct, strict=True))
        reasoning = _reasoning(questions)
        pairs = [(reasoning.get(name), right, name) for kind, name, right in questions if kind == "sub"]
        unknown = sorted({name for r, _, name in pairs if r is None})
        if unknown:
            fix = "add the reasoning question of every sub-question"
            raise ValueError(f"group: {unknown[:9]} of sub-questions name no reasoning question; {fix}.")
        if not pairs:
            raise ValueError(
                "No question is a sub-question; give each reasoning question the sub-questions of its group."
            )
        shares = {
            "r_right_s_right": math.fsum(r * s for r, s, _ in pairs) / len(pairs),
            "r_right_s_wrong": math.fsum(r * (1 - s) for r, s, _ in pairs) / len(pairs),
            "r_wrong_s_right": math.fsum((1 - r) * s for r, s, _ in pairs) / len(pairs),
            "r_wrong_s_wrong": math.fsum((1 - r) * (1 - s) for r, s, _ in pairs) / len(pairs),
        }
        right = math.fsum(r for r, _, _ in pairs) / len(pairs)
        return {
            **shares,
            "consistency": shares["r_right_s_right"] / right if right else None,
            "reasoning_accuracy": math.fsum(reasoning.values()) / len(reasoning),
        }
