"""VQA accuracy: answers score by how many annotators gave them, after the normalisation of the official evaluation."""

import math
import re
from functools import lru_cache

import datasets
import evaluate

_DESCRIPTION = """
VQA accuracy: min(n / 3, 1) with n the number of other annotators who gave the predicted answer, averaged over leaving out one
annotator at a time (Antol et al., 2015), after the normalisation of the official evaluation. A question with a single
reference answer counts 1 where the prediction is that answer, else 0.
"""

_CITATION = """\
@inproceedings{antol2015vqa,
  title = {{VQA}: Visual Question Answering},
  author = {Antol, Stanislaw and Agrawal, Aishwarya and Lu, Jiasen and Mitchell, Margaret and Batra, Dhruv and
            Zitnick, C. Lawrence and Parikh, Devi},
  booktitle = {IEEE/CVF International Conference on Computer Vision (ICCV)},
  year = {2015}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: predicted answers, one string per question.
    references: the annotators' answers, a list of strings per question; a string stands for a list of one.
    unanimous: "normalize" (default) normalises every answer; "raw" compares both sides as they are written where all
        annotators wrote the same, as the official code does.
Returns:
    vqa_accuracy: mean score, from 0 to 1.
Example:
    >>> metric = evaluate.load("metrics/vqa_accuracy")
    >>> metric.compute(predictions=["two"], references=[["2", "2", "2", "2", "3", "3", "3", "3", "3", "3"]])
    {'vqa_accuracy': 1.0}
"""

_NOTHING = "No answer was added; pass predictions and references to add, add_batch or compute."

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {**{word: str(number) for number, word in enumerate(_NUMBERS)}, "none": "0"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,\d")
_POINT = re.compile(r"\.(?!\d)")  # the official pattern without its first half, which never matches
_POINTS = 32  # the official code removes at most 32 points: it passes a flag in place of the count
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word  # typed without one of its apostrophes
    for word in _CONTRACTED.split()
    for place, letter in enumerate(word)
    if letter == "'"
}
_CONTRACTIONS["somebody'd"] = "somebodyd"  # reversed in the official table; kept, so that scores agree


def _clean(answer):
    """Replace line breaks and tabs by spaces, and strip the answer."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 16)
def _normalize(answer):
    """Return an answer as the official evaluation compares it."""
    answer = text = _clean(answer)
    for mark in _PUNCTUATION:
        vanishes = f"{mark} " in answer or f" {mark}" in answer or _THOUSANDS.search(answer)
        text = text.replace(mark, "" if vanishes else " ")
    words = (_WORDS.get(word, word) for word in _POINT.sub("", text, count=_POINTS).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _score(prediction, answers):
    """Return the score of a prediction: 1 or 0 for one answer, else the mean over leaving out each annotator."""
    count, others = answers.count(prediction), len(answers) - 1
    if not others:
        return float(count)
    return (count * min((count - 1) / 3, 1) + (len(answers) - count) * min(count / 3, 1)) / len(answers)


def _measure(prediction, answers):
    """Return the score with every answer normalised, and the score of the official code."""
    score = _score(_normalize(prediction), [_normalize(answer) for answer in answers])
    raw = [_clean(answer) for answer in answers]
    return score, _score(_clean(prediction), raw) if len(set(raw)) == 1 else score


def _rows(predictions, references, first):
    """Yield (prediction, list of answers), checked; `first` is the number of the first question, for errors."""
    for name, given in (("predictions", predictions), ("references", references)):
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is a list with one item per question.")
    if len(predictions) != len(references):
        given = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"Given were {given}; pass one list of answers for each prediction.")
    for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True), start=first):
        if not isinstance(prediction, str):
            fix = "decode labels with the model's id2label"
            raise ValueError(f"predictions[{row}] is {prediction!r}; allowed is a string: {fix}.")
        answers = [answers] if isinstance(answers, str) else answers
        if not hasattr(answers, "__len__") or not len(answers) or not all(isinstance(item, str) for item in answers):
            raise ValueError(
                f"references[{row}] is {answers!r}; allowed are a string and a list of one string or more."
            )
        yield prediction, list(answers)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class VqaAccuracy(evaluate.Metric):
    """Soft accuracy of answers to questions about images."""

    def _info(self):
        """Describe the module."""
        answer = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": answer, "references": datasets.Sequence(answer)}),
            reference_urls=["https://arxiv.org/abs/1505.00468"],
        )

    def _infer_feature_from_batch(self, batch):
        """Describe what is stored for a question: two scores; `features` describes what is passed."""
        return datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("float64")})

    _infer_feature_from_example = _infer_feature_from_batch

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one question; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of questions, each reduced to its scores at once; if one is bad, nothing of the batch is kept."""
        scores = [_measure(*row) for row in _rows(predictions, references, first=len(self))]
        super().add_batch(predictions=[score[0] for score in scores], references=[score[1] for score in scores])

    def compute(self, *, predictions=None, references=None, unanimous="normalize"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if unanimous not in ("normalize", "raw"):
            raise ValueError(f'unanimous is {unanimous!r}; allowed are "normalize" and "raw" (as the official code).')
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(unanimous=unanimous)

    def _compute(self, *, predictions, references, unanimous):
        """Average the stored scores."""
        scores = predictions if unanimous == "normalize" else references
        if not len(scores):
            raise ValueError(_NOTHING)
        return {"vqa_accuracy": math.fsum(scores) / len(scores)}
