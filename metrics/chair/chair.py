"""CHAIR: which share of the objects that captions mention is not in the image."""

import re
from collections.abc import Mapping

import datasets
import evaluate

_DESCRIPTION = """
CHAIR: the share of the objects mentioned in captions that are not in the image, and the share of captions that mention such an
object (Rohrbach et al., 2018, section 2.2). What a caption mentions is told by a table from words to objects.
"""

_CITATION = """\
@inproceedings{rohrbach2018object,
  title = {Object Hallucination in Image Captioning},
  author = {Rohrbach, Anna and Hendricks, Lisa Anne and Burns, Kaylee and Darrell, Trevor and Saenko, Kate},
  booktitle = {Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  year = {2018}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: the generated caption of each image, a string; it may be empty.
    references: the objects that each image shows, a list of names, which may be empty. For COCO's captions the paper takes
        those that are annotated and those that the captions of people mention.
    words: name -> object, or None for a name that is no object; a name may have several words, and the longest counts. Such is
        hf_guidance.data.VisualWords.coco().table. Left out, objects are named by their own names, in singular and regular
        plural, and only those of the references are known.
    count: "objects" (default) counts an object once in a caption, as the paper writes; "mentions" counts every mention, as the
        released code does.
Returns:
    chair_i: share of the mentioned objects that the image does not show, from 0 to 1; 0 where none is mentioned; lower is
        better.
    chair_s: share of the captions that mention such an object, from 0 to 1; lower is better.
    object_recall: share of the objects of the images that their captions mention, from 0 to 1, 0 where there are none; higher
        is better.
Example:
    >>> metric = evaluate.load("metrics/chair")
    >>> metric.compute(predictions=["a dog and a cat", "two dogs"], references=[["dog"], ["dog", "cat"]])
    {'chair_i': 0.3333333333333333, 'chair_s': 0.5, 'object_recall': 0.6666666666666666}
"""

_NOTHING = "No caption was added; pass predictions and references to add, add_batch or compute."
_COUNTS = ("objects", "mentions")
_WORD = re.compile(r"[^\W_]+")


def _name(text):
    """Return a name as it is compared: its words in lower case with single blanks."""
    return " ".join(_WORD.findall(text.lower()))


def _plural(name):
    """Return the regular plural of a name."""
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _table(words):
    """Return name -> object or None, checked."""
    if not isinstance(words, Mapping) or not words:
        raise ValueError(f"words are {words!r:.60}; allowed is name -> object, such as {{'puppy': 'dog'}}.")
    table = {}
    for name, thing in words.items():
        text = _name(name) if isinstance(name, str) else ""
        if not text or (thing is not None and (not isinstance(thing, str) or not thing)):
            raise ValueError(f"words has {name!r:.60}: {thing!r:.60}; allowed is text with a word: text, or None.")
        if table.setdefault(text, thing) != thing:
            raise ValueError(
                f"words gives the name {text!r} two objects, {table[text]!r} and {thing!r}; keep one of them."
            )
    return table


def _own_names(references):
    """Return the table of the objects of the references by their own names."""
    names = sorted({thing for things in references for thing in things})
    return {form: thing for thing in names for form in (_plural(_name(thing)), _name(thing))}


def _mentioned(caption, table, longest):
    """Return the objects that a caption mentions, in its order, one for each mention."""
    words, place, found = _WORD.findall(caption.lower()), 0, []
    while place < len(words):
        lengths = range(min(longest, len(words) - place), 0, -1)
        length = next((n for n in lengths if " ".join(words[place : place + n]) in table), 0)
        if length:
            found.append(table[" ".join(words[place : place + length])])
        place += length or 1
    return [thing for thing in found if thing is not None]


def _rows(predictions, references, first):
    """Yield (caption, list of objects), checked; `first` is the number of the first image, for errors."""
    for name, given in (("predictions", predictions), ("references", references)):
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is a list with one item per image.")
    if len(predictions) != len(references):
        given = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"Given were {given}; pass one list of objects for each prediction.")
    for row, (prediction, things) in enumerate(zip(predictions, references, strict=True), start=first):
        if not isinstance(prediction, str):
            raise ValueError(f"predictions[{row}] is {prediction!r:.60}; allowed is a string: decode the tokens.")
        listed = hasattr(things, "__len__") and not isinstance(things, str)
        if not listed or not all(isinstance(thing, str) and _name(thing) for thing in things):
            raise ValueError(
                f"references[{row}] is {things!r:.60}; allowed is a list of names of objects, or an empty one."
            )
        yield prediction, list(things)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Chair(evaluate.Metric):
    """Object hallucination in captions."""

    def _info(self):
        """Describe the module."""
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            reference_urls=["https://arxiv.org/abs/1809.02156"],
        )

    def add(self, *, prediction=None, reference=None, predictions=None, references=None):
        """Add one image; `evaluate.combine` passes it under the plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(self, *, predictions=None, references=None):
        """Add a batch of images; if one is bad, nothing of the batch is kept."""
        rows = list(_rows(predictions, references, first=len(self)))
        super().add_batch(predictions=[row[0] for row in rows], references=[row[1] for row in rows])

    def compute(self, *, predictions=None, references=None, words=None, count="objects"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        if count not in _COUNTS:
            raise ValueError(f'count is {count!r}; allowed are "objects" and "mentions" (as the released code).')
        words = None if words is None else _table(words)
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(words=words, count=count)

    def _compute(self, *, predictions, references, words, count):
        """Count what is mentioned, and what of it is not there."""
        if not len(predictions):
            raise ValueError(_NOTHING)
        table = _own_names(references) if words is None else words
        longest = max(map(len, map(str.split, table)), default=1)
        mentioned = wrong = wrong_captions = present = told = 0
        for caption, shown in zip(predictions, references, strict=True):
            things = _mentioned(caption, table, longest)
            things = list(dict.fromkeys(things)) if count == "objects" else things
            lacking = sum(thing not in shown for thing in things)
            mentioned, wrong, wrong_captions = mentioned + len(things), wrong + lacking, wrong_captions + bool(lacking)
            present, told = present + len(set(shown)), told + len(set(shown) & set(things))
        return {
            "chair_i": wrong / mentioned if mentioned else 0.0,
            "chair_s": wrong_captions / len(predictions),
            "object_recall": told / present if present else 0.0,
        }
