"""Caption scores: CIDEr-D, BLEU, ROUGE-L, METEOR and SPICE of generated captions, by the package pycocoevalcap."""

import re
import shutil
from importlib import import_module

import datasets
import evaluate
import pycocoevalcap  # its scorers are loaded where they are used: some start Java

_DESCRIPTION = """
Scores of generated captions against the captions that people wrote, as the evaluation of COCO computes them: CIDEr-D
(Vedantam et al., 2015), BLEU-1 to BLEU-4, ROUGE-L, and with Java METEOR and SPICE. The numbers are those of pycocoevalcap, the
evaluation server's code; captions are cut into words here, without Java, or on request by that package.
"""

_CITATION = """\
@inproceedings{vedantam2015cider,
  title = {{CIDEr}: Consensus-based Image Description Evaluation},
  author = {Vedantam, Ramakrishna and Zitnick, C. Lawrence and Parikh, Devi},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2015}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: the generated caption of each image, a string; it may be empty.
    references: the captions that people wrote of each image, a list of strings; a string stands for a list of one.
    scores: which to compute, a list of "cider", "bleu", "rouge_l", "meteor" and "spice"; the first three by default, since
        "meteor" and "spice" need Java.
    tokenizer: "words" (default) cuts captions into words as the Penn Treebank does, without Java; "ptb" does it by the Java
        tokenizer of pycocoevalcap; "none" takes what stands between blanks, for captions that are cut already.
Returns:
    cider: CIDEr-D, at least 0, at most 10.
    bleu_1, bleu_2, bleu_3, bleu_4: BLEU over all images, from 0 to 1.
    rouge_l: mean ROUGE-L, from 0 to 1.
    meteor: METEOR over all images, from 0 to 1, where asked for.
    spice: mean SPICE, from 0 to 1, where asked for.
Example:
    >>> metric = evaluate.load("metrics/caption_scores")
    >>> metric.compute(predictions=["a dog", "two red cats"], references=[["a dog"], ["red cats"]], scores=["rouge_l"])
    {'rouge_l': 0.9149659863945578}
"""

_NOTHING = "No caption was added; pass predictions and references to add, add_batch or compute."
_SCORERS = {
    "cider": ("cider.cider", "Cider", ("cider",)),
    "bleu": ("bleu.bleu", "Bleu", ("bleu_1", "bleu_2", "bleu_3", "bleu_4")),
    "rouge_l": ("rouge.rouge", "Rouge", ("rouge_l",)),
    "meteor": ("meteor.meteor", "Meteor", ("meteor",)),
    "spice": ("spice.spice", "Spice", ("spice",)),
}
_DEFAULT = ("cider", "bleu", "rouge_l")
_BY_JAVA = ("meteor", "spice")
_TOKENIZERS = ("words", "ptb", "none")
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))(?!\w)|(?<=\bcan)(not)\b")
_TOKEN = re.compile(
    r"n't|'(?:s|re|ve|ll|d|m)(?!\w)|\w+(?:(?:[-./&']|(?<=\d)[,:](?=\d))\w+)*|[^\w\s'\"`.?!,:;()\[\]{}-]"
)


def _words(caption):
    """Return a caption in lower case with blanks between its words, as the Penn Treebank cuts them, signs left out."""
    return " ".join(_TOKEN.findall(_CLITIC.sub(r" \1\2", caption.lower().replace("\u2019", "'"))))


def _tokens(captions, tokenizer):
    """Return captions, a list for each image, as words with blanks between."""
    if tokenizer == "words":
        return {row: [_words(caption) for caption in of_image] for row, of_image in captions.items()}
    if tokenizer == "none":
        return {row: [" ".join(caption.split()) for caption in of_image] for row, of_image in captions.items()}
    _need_java('tokenizer="ptb"', 'leave it out, for tokenizer="words"')
    tool = import_module("pycocoevalcap.tokenizer.ptbtokenizer").PTBTokenizer()
    return tool.tokenize({row: [{"caption": caption} for caption in of_image] for row, of_image in captions.items()})


def _need_java(asked, fix):
    """Raise unless Java is found, by which the package computes what was asked for."""
    if shutil.which("java") is None:
        raise ValueError(f"{asked} is computed by Java, and no java is on the path; install a Java runtime, or {fix}.")


def _chosen(scores, tokenizer):
    """Return the names of the scores asked for, after the checks of the options."""
    if tokenizer not in _TOKENIZERS:
        raise ValueError(f"tokenizer is {tokenizer!r}; allowed are {list(_TOKENIZERS)}.")
    listed = isinstance(scores, (list, tuple)) and len(scores) > 0
    if not listed or not all(score in _SCORERS for score in scores):
        raise ValueError(f"scores are {scores!r}; allowed is a list of some of {list(_SCORERS)}.")
    for score in _BY_JAVA:
        if score in scores:
            _need_java(f'the score "{score}"', f"leave it out of scores: {list(_DEFAULT)} need none")
    if tokenizer == "ptb":
        _need_java('tokenizer="ptb"', 'leave it out, for tokenizer="words"')
    return list(dict.fromkeys(scores))


def _by_package(name, references, predictions):
    """Return the numbers of a scorer of the package, by their names."""
    module, kind, keys = _SCORERS[name]
    options = {"verbose": 0} if name == "bleu" else {}
    scorer = None
    try:
        scorer = getattr(import_module(f"{pycocoevalcap.__name__}.{module}"), kind)()
        value, _ = scorer.compute_score(references, predictions, **options)
    except Exception as error:
        if name not in _BY_JAVA:
            raise
        lock = getattr(scorer, "lock", None)
        if lock is not None and lock.locked():
            lock.release()  # METEOR's keeps it, and would wait for it for ever when it is deleted
        fix = f"leave it out of scores, of which {list(_DEFAULT)} need no Java"
        fix += "; SPICE downloads Stanford's models on its first use, and runs on Java 8" if name == "spice" else ""
        raise ValueError(f'the score "{name}" failed ({type(error).__name__}: {error}); {fix}.') from error
    values = value if isinstance(value, list) else [value]
    return {key: float(number) for key, number in zip(keys, values, strict=True)}


def _rows(predictions, references, first):
    """Yield (prediction, list of captions), checked; `first` is the number of the first image, for errors."""
    for name, given in (("predictions", predictions), ("references", references)):
        if isinstance(given, str) or not hasattr(given, "__len__"):
            raise ValueError(f"{name} is of type {type(given).__name__}; allowed is a list with one item per image.")
    if len(predictions) != len(references):
        given = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"Given were {given}; pass one list of captions for each prediction.")
    for row, (prediction, captions) in enumerate(zip(predictions, references, strict=True), start=first):
        if not isinstance(prediction, str):
            raise ValueError(f"predictions[{row}] is {prediction!r:.60}; allowed is a string: decode the tokens.")
        captions = [captions] if isinstance(captions, str) else captions
        if not hasattr(captions, "__len__") or not len(captions) or not all(isinstance(one, str) for one in captions):
            raise ValueError(
                f"references[{row}] is {captions!r:.60}; allowed are a string and a list of one string or more."
            )
        if not all(_words(one) for one in captions):
            raise ValueError(
                f"references[{row}] has a caption without a word, in {captions!r:.60}; leave that caption out."
            )
        yield prediction, list(captions)


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class CaptionScores(evaluate.Metric):
    """CIDEr-D, BLEU, ROUGE-L, METEOR and SPICE."""

    def _info(self):
        """Describe the module."""
        caption = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": caption, "references": datasets.Sequence(caption)}),
            reference_urls=["https://arxiv.org/abs/1411.5726"],
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

    def compute(self, *, predictions=None, references=None, scores=_DEFAULT, tokenizer="words"):
        """Compute the metric over everything added. A bad option is refused first, and loses nothing of it."""
        scores = _chosen(scores, tokenizer)
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if self.num_process == 1 and len(self) == 0:
            raise ValueError(_NOTHING)
        return super().compute(scores=scores, tokenizer=tokenizer)

    def _compute(self, *, predictions, references, scores, tokenizer):
        """Cut all captions into words, and score them by the package."""
        if not len(predictions):
            raise ValueError(_NOTHING)
        # In one order, so that sums round alike however the images were added.
        rows = sorted(zip(predictions, map(list, references), strict=True))
        said = _tokens({row: [prediction] for row, (prediction, _) in enumerate(rows)}, tokenizer)
        meant = _tokens({row: captions for row, (_, captions) in enumerate(rows)}, tokenizer)
        return {key: value for name in scores for key, value in _by_package(name, meant, said).items()}
