"""The official question and annotation files of VQA v2, VQA-CP and data sets in their layout."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.published import published_with_answers
from hf_guidance.data.questions.rows import QuestionBuilder, known_image, question_row, row_id

LAYOUT = "*questions.json and *annotations.json, named as in VQA v2 or <split>_questions.json"
_SPLITS = {
    "train": "train", "val": "validation", "validation": "validation", "dev": "dev", "test": "test",
    "test-dev": "test_dev", "test_dev": "test_dev", "test-id": "test_id", "test_id": "test_id",
    "test-ood": "test_ood", "test_ood": "test_ood",
}  # fmt: skip
"""What a file's name calls a split -> the split."""
_WORD = "|".join(sorted(_SPLITS, key=len, reverse=True))
# Official names say more before the split (v2_OpenEnded_mscoco_, OpenEnded_abstract_v002_), and a year or a size after it.
_NAME = re.compile(rf"(?:(?P<before>.+?)_)??(?P<split>{_WORD})(?:20\d\d)?(?:-\d+k)?_(?:questions|annotations)\.json")
_SECOND = re.compile(rf"(?:.*[_-])?(?:{_WORD})(?:20\d\d)?")  # another split before the split, as in train_val

Pair = tuple[str, str | None]
Question = tuple[dict[str, Any], Any]
"""The entry of a question with what its annotation adds, and its raw answers."""


def find_vqa_files(base: str) -> dict[str, Pair]:
    """Split -> paths of the question file and the annotation file, None where there is none (test splits).

    Args:
        base: A folder that holds the files, or folders `questions` and `annotations` with them. The files of a split belong
            together whatever else their names say.

    Raises:
        ValueError: There is no question file, one whose name has no split, or two of one split; or questions lack annotations,
            though their split is not one of test, and there are annotations that belong to no questions.
    """
    return _pairs(base)[0]


def counted_pairs(builder: QuestionBuilder, base: str) -> dict[str, Pair]:
    """`find_vqa_files`; the builder counts the annotation files that belong to no question file."""
    pairs, unused = _pairs(base)
    for path in unused:
        builder.count("annotation file without questions, not read", path)
    return pairs


def _pairs(base: str) -> tuple[dict[str, Pair], list[str]]:
    """Split -> its pair of files, and the annotation files that belong to none."""
    asked, strange = _by_split(base, "questions", ("", "questions"))
    answered, unused = _by_split(base, "annotations", ("", "questions", "annotations"))
    if strange:
        raise _no_split(strange[0], "questions")
    if not asked:
        raise ValueError(f"data_dir: no question file in {base}; allowed: a folder with {LAYOUT}.")
    alone = [path for split, path in answered.items() if split not in asked]
    # An annotation file more does no harm, unless it may be the one that is missed.
    if (alone or unused) and any(published_with_answers(split) for split in asked.keys() - answered.keys()):
        if unused:
            raise _no_split(unused[0], "annotations")
        raise ValueError(f"{alone[0]}: no question file is of its split; add {LAYOUT}, or move it out of the folder.")
    order = ["train", "validation", "dev", "test", "test_dev", "test_id", "test_ood"]
    return {split: (asked[split], answered.get(split)) for split in sorted(asked, key=order.index)}, [*alone, *unused]


def _by_split(base: str, kind: str, folders: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split -> its file, and the files whose name says no split."""
    found: dict[str, str] = {}
    strange = []
    patterns = [os.path.join(glob.escape(base), inner, f"*{kind}.json") for inner in folders]
    for path in (path for pattern in patterns for path in sorted(glob.glob(pattern))):
        match = _NAME.fullmatch(os.path.basename(path))
        if match is None or _SECOND.fullmatch(match["before"] or ""):
            strange.append(path)
            continue
        split = _SPLITS[match["split"]]
        if split in found:
            raise ValueError(f"{path} and {found[split]} are both of split {split}; keep one of them in the folder.")
        found[split] = path
    return found, strange


def _no_split(path: str, kind: str) -> ValueError:
    return ValueError(
        f"{path}: its name does not say which split it is; allowed: one of {list(_SPLITS)} before '_{kind}.json', "
        "alone or after '_'. Rename the file, or move it out of the folder."
    )


def vqa_records(builder: QuestionBuilder, pair: Pair, answered: bool) -> list[tuple[str, Question]]:
    """The records of a pair of files; the builder raises or counts their faults, and that no question is ``answered``."""
    source = VqaRecords(pair)
    records = list(source)
    for problem in source.problems:
        builder.problem(problem)
    if answered and pair[1] is None and not any(answers for _, (_, answers) in records):
        builder.count("question file without annotations", pair[0])
    return records


class VqaRecords:
    """The questions of a pair of files with their annotations: iterate to get records, then see `problems` for faults.

    A record is what names the question in errors, and a `Question`. Ids are compared as text, so 7 and "7" are one question.
    """

    def __init__(self, pair: Pair) -> None:
        self.questions, self.annotations = pair
        self.problems: list[InvalidAnnotation] = []

    def __iter__(self) -> Iterator[tuple[str, Question]]:
        annotated = None if self.annotations is None else dict(self._identified(self.annotations, "annotation"))
        for number, (item, question) in self._identified(self.questions, "question"):
            annotation = None
            if annotated is not None:
                if number not in annotated:
                    self._problem("question without annotation", item, f"{self.annotations} has no such question_id.")
                    continue
                annotation = annotated.pop(number)[1]
            try:
                yield item, _merged(question, annotation, item)
            except InvalidAnnotation as error:
                self.problems.append(error)
        for item, _ in (annotated or {}).values():
            self._problem("annotation without question", item, f"{self.questions} has no such question_id.")

    def _identified(self, path: str, kind: str) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
        """Yield the id of each usable entry, what names it, and the entry; each id once."""
        seen = set()
        for index, entry in enumerate(_entries(path, f"{kind}s")):
            item = f"{path}, {kind} number {index}"
            if not isinstance(entry, dict):
                self._problem(
                    f"{kind} is not an object", item, f"it is {entry!r:.60}; allowed: {{'question_id': ...}}."
                )
                continue
            given = entry.get("question_id")
            try:
                number = row_id(given, "question_id", item)
            except InvalidAnnotation as error:
                text = f"{kind}: {error.message}"
                self._problem("question without id, image or text" if given is None else error.reason, item, text)
                continue
            item = f"{path}, question {number}"
            if number in seen:
                self._problem(f"{kind} listed twice", item, f"an earlier {kind} has the same id.")
                continue
            seen.add(number)
            yield number, (item, entry)

    def _problem(self, reason: str, item: str, message: str) -> None:
        self.problems.append(InvalidAnnotation(reason, item, message))


def vqa_row(item: str, question: Question, **columns: Any) -> dict[str, Any]:
    """The row of a record; see `question_row`."""
    entry, answers = question
    return question_row(entry, answers, item, **columns)


def _merged(question: dict[str, Any], annotation: dict[str, Any] | None, item: str) -> Question:
    if annotation is None:  # a split without annotations, or with the answers in the questions
        return {**question, "answers": None}, question.get("answers")
    asked, answered = question.get("image_id"), annotation.get("image_id")
    if answered is not None and asked is not None and known_image(asked) != known_image(answered):
        text = f"the question is about image {asked}, its annotation {answered}."
        raise InvalidAnnotation("image of question and annotation differ", item, text)
    answers = annotation.get("answers")
    if answers is None or answers == []:
        answers = annotation.get("multiple_choice_answer")
        if not answers:
            raise InvalidAnnotation("annotation without answers", item, f"its annotation has {sorted(annotation)}.")
        answers = [answers]
    return {**annotation, **question, "answers": None}, answers


def _entries(path: str, key: str) -> list[Any]:
    content = read_json(path)
    entries = content.get(key) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise ValueError(f"{path}: no list of {key}; allowed: a flat list, or {{'{key}': [...]}}, of objects.")
    return entries
