"""The official question and annotation files of VQA v2, VQA-CP and data sets in their layout."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Any

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.rows import question_row

LAYOUT = "*questions.json and *annotations.json, named as in VQA v2 or <split>_questions.json"
_SPLITS = {
    "val2014": "validation",
    "val": "validation",
    "train2014": "train",
    "test2015": "test",
    "test-dev2015": "test_dev",
}
_SPLIT = re.compile(r"(train|val|dev|test-dev|test[-_]id|test[-_]ood|test)(?:20\d\d)?(?:-\d+k)?_questions\.json$")

Pair = tuple[str, str | None]
Record = tuple[dict[str, Any], list[str], str]


def find_vqa_files(base: str) -> dict[str, Pair]:
    """Split -> paths of the question file and the annotation file, None where there is none (test splits).

    Args:
        base: A folder that holds the files, or a folder `questions` with them.

    Raises:
        ValueError: There is no question file, or two of one split.
    """
    found: dict[str, Pair] = {}
    patterns = [os.path.join(glob.escape(base), inner, "*questions.json") for inner in ("", "questions")]
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    for path in paths:
        match = _SPLIT.search(os.path.basename(path))
        if match is None:
            continue
        split = _SPLITS.get(match[1], match[1].replace("-", "_"))
        if split in found:
            raise ValueError(f"{path} and {found[split][0]} are both of split {split}; keep one of them in the folder.")
        folder, name = os.path.split(path)
        names = {
            name.replace("questions", "annotations"),
            name.replace("OpenEnded_", "").replace("questions", "annotations"),
        }
        beside = [os.path.join(folder, each) for each in sorted(names) if os.path.isfile(os.path.join(folder, each))]
        found[split] = (path, beside[0] if beside else None)
    if not found:
        raise ValueError(f"data_dir: no question file in {base}; allowed: a folder with {LAYOUT}.")
    order = ["train", "validation", "dev", "test", "test_dev", "test_id", "test_ood"]
    return dict(sorted(found.items(), key=lambda entry: order.index(entry[0])))


class VqaRecords:
    """The questions of a pair of files with their annotations: iterate to get records, then see `problems` for faults."""

    def __init__(self, pair: Pair) -> None:
        self.questions, self.annotations = pair
        self.problems: list[InvalidAnnotation] = []

    def __iter__(self) -> Iterator[Record]:
        annotated = {} if self.annotations is None else self._annotated(self.annotations)
        seen = set()
        for index, question in enumerate(_entries(self.questions, "questions")):
            item = f"{self.questions}, question {question.get('question_id', f'number {index}')}"
            number = question.get("question_id")
            if number in seen:
                self._problem("question listed twice", item, "an earlier question has the same id.")
                continue
            seen.add(number)
            annotation = annotated.pop(number, None)
            if annotation is None and self.annotations is not None:
                self._problem("question without annotation", item, f"{self.annotations} has no such question_id.")
                continue
            if annotation and str(annotation.get("image_id")) != str(question.get("image_id")):
                text = f"the question is about image {question.get('image_id')}, its annotation {annotation.get('image_id')}."
                self._problem("image of question and annotation differ", item, text)
                continue
            yield {**(annotation or {}), **question, "answers": None}, _answers(annotation), item
        for number in annotated:
            item = f"{self.annotations}, question {number}"
            self._problem("annotation without question", item, f"{self.questions} has no such question_id.")

    def _annotated(self, path: str) -> dict[Any, dict[str, Any]]:
        return {entry.get("question_id"): entry for entry in _entries(path, "annotations")}

    def _problem(self, reason: str, item: str, message: str) -> None:
        self.problems.append(InvalidAnnotation(reason, item, message))


def vqa_row(record: Record, **columns: Any) -> dict[str, Any]:
    """The row of a record; see `question_row`."""
    entry, answers, item = record
    return question_row(entry, answers, item, **columns)


def _answers(annotation: dict[str, Any] | None) -> list[str]:
    if annotation is None:
        return []
    given = annotation.get("answers")
    if given:
        return [each["answer"] if isinstance(each, dict) else each for each in given]
    return [annotation[key] for key in ("multiple_choice_answer",) if annotation.get(key)]


def _entries(path: str, key: str) -> list[dict[str, Any]]:
    content = read_json(path)
    entries = content.get(key) if isinstance(content, dict) else content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: no list of {key}; allowed: a flat list, or {{'{key}': [...]}}, of objects.")
    return entries
