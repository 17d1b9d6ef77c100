"""Builder for GQA: the boxes of the objects that a question's program points to."""

import glob
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from hf_guidance.data.builder_base import RECORD_ERRORS, InvalidAnnotation, read_json
from hf_guidance.data.images.box_checks import check_boxes, clipped_box
from hf_guidance.data.questions.published import any_answer
from hf_guidance.data.questions.rows import (
    QuestionBuilder,
    QuestionConfig,
    Record,
    known_image,
    question_features,
    question_row,
)

LAYOUT = "train_balanced_questions.json (val, testdev) and train_sceneGraphs.json (val), or sceneGraphs.json"
SPLITS = {"train": "train", "val": "validation", "testdev": "testdev", "test": "test"}
OUTSIDE, EMPTY = "object outside the image", "object without area"
_LEFT_OUT = {
    "box outside the image": OUTSIDE,
    "box of zero width or height": EMPTY,
}  # no detected box can overlap these
SHORT = 3  # digits: numbers of this length or shorter in a program are not object ids


def object_ids(program: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every number in the arguments of a program, as text, in order."""
    return [number for step in program for number in re.findall(r"\d+", str(step.get("argument") or ""))]


def object_box(entry: Mapping[str, Any], size: tuple[float, float], item: str) -> tuple[list[float], str]:
    """The box of an object in [0, 1], cut at the edges of the image, and why it was cut; see `clipped_box`."""
    x, y, w, h = (float(entry[key]) for key in "xywh")
    corners, cut = clipped_box((x, y, x + w, y + h), size, item)
    # rounded to the column's float32 here, so that streaming gives the same numbers
    return [float(np.float32(value / length)) for value, length in zip(corners, (*size, *size), strict=True)], cut


def image_size(graph: Mapping[str, Any], item: str) -> tuple[float, float]:
    """Width and height of the image of a scene graph, in pixels, if its boxes are in pixels too."""
    width, height = float(graph["width"]), float(graph["height"])
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise InvalidAnnotation(
            "image without size", item, f"its scene graph gives width {width:g}, height {height:g}."
        )
    boxes = []
    for entry in graph["objects"].values():
        with suppress(*RECORD_ERRORS):  # refused where a question needs it
            x, y, w, h = (float(entry[key]) for key in "xywh")
            if x + w > 2 or y + h > 2:  # no share of the image: nothing more to check, as for all but broken graphs
                return width, height
            boxes.append((x, y, x + w, y + h))
    check_boxes(boxes, (width, height), item)
    return width, height


@dataclass
class GqaConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    def question_files(self) -> dict[str, list[str]]:
        """Split -> question files: of a split's files the balanced one, else all questions, which may be in parts."""
        base = self.base(LAYOUT)
        found: dict[str, list[str]] = {}
        for ending in ("balanced_questions", "all_questions", "questions"):
            for name, split in SPLITS.items():
                sources = [
                    source
                    for inner in ("", "questions", "questions1.2")
                    for source in question_parts(os.path.join(base, inner, f"{name}_{ending}"))
                ]
                if len(sources) > 1 and split not in found:
                    raise ValueError(
                        f"{sources[0][0]} and {sources[1][0]} are both of split {split}; keep one of them."
                    )
                if sources:
                    found.setdefault(split, sources[0])
        if not found:
            raise ValueError(f"data_dir: no question file in {base}; allowed: a folder with {LAYOUT}.")
        return {split: found[split] for split in SPLITS.values() if split in found}

    def graph_files(self) -> list[str]:
        """Every scene graph file."""
        base = self.base(LAYOUT)
        names = [f"{name}_sceneGraphs.json" for name in SPLITS] + ["sceneGraphs.json"]
        paths = [os.path.join(base, inner, name) for inner in ("", "sceneGraphs") for name in names]
        return [path for path in paths if os.path.isfile(path)]

    def raw_files(self) -> tuple[list[str], list[str]]:
        return [*(path for paths in self.question_files().values() for path in paths), *self.graph_files()], []


class Gqa(QuestionBuilder):
    """Questions with one answer and the boxes of the objects that matter."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = GqaConfig

    def _info(self) -> datasets.DatasetInfo:
        features = question_features("reference_boxes")
        return datasets.DatasetInfo(
            description="Questions about images with the boxes that matter, from GQA.", features=features
        )

    def records(self) -> Mapping[str, Iterable[Record]]:
        graphs: dict[str, Any] = {}
        for path in self.config.graph_files():
            for image, graph in entries(path).items():
                if graphs.setdefault(image, graph) != graph:
                    raise ValueError(
                        f"{path}: image {image} has another scene graph in another file; keep one of them."
                    )
        return {split: self._asked(paths, graphs) for split, paths in self.config.question_files().items()}

    def _asked(self, paths: list[str], graphs: Mapping[str, Any]) -> list[Record]:
        questions: dict[str, tuple[str, Any]] = {}
        for path in paths:
            for number, question in entries(path).items():
                item = f"{path}, question {number}"
                if number in questions:
                    message = f"it is the same as {questions[number][0]}."
                    self.problem(InvalidAnnotation("question listed twice", item, message))
                    continue
                questions[number] = (item, question)
        answered = any_answer(question for _, question in questions.values())
        records = []
        for number, (item, question) in questions.items():
            image = known_image(question.get("imageId")) if isinstance(question, dict) else None
            records.append((item, (number, question, graphs.get(image or ""), answered)))
        return records

    def row(self, item: str, record: Any) -> dict[str, Any]:
        number, question, graph, answered = record
        entry = {"question_id": number, "image_id": question.get("imageId"), "question": question.get("question")}
        entry["question_type"] = (question.get("types") or {}).get("structural")
        answer = question.get("answer")
        if answered and answer is None:
            raise InvalidAnnotation(
                "question without answer", item, "it has no answer, other questions of the file have."
            )
        row = question_row(entry, [] if answer is None else [answer], item)
        return {**row, "reference_boxes": self._boxes(question.get("semantic") or [], graph, item)}

    def _boxes(self, program: Any, graph: Any, item: str) -> list[list[float]] | None:
        ids = object_ids(program)
        if not ids:
            self.count("program names no object", item)
            return None
        if graph is None:
            self.count("image without scene graph", item)
            return None
        size, boxes = image_size(graph, item), []
        for number in ids:
            if len(number) <= SHORT:
                continue
            thing = f"{item}, object {number}"
            try:
                box, cut = object_box(self._object(graph, number, thing), size, thing)
            except InvalidAnnotation as error:
                if error.reason in _LEFT_OUT:
                    self.count(_LEFT_OUT[error.reason], error.item)
                else:
                    self.problem(error)
                continue
            if cut:
                self.count(cut, thing)
            boxes.append(box)
        return boxes

    def _object(self, graph: Mapping[str, Any], number: str, item: str) -> Mapping[str, Any]:
        entry: Mapping[str, Any] | None = graph["objects"].get(number)
        if entry is None:
            message = f"its program points to object {number}, which the scene graph does not hold."
            raise InvalidAnnotation("program points to a missing object", item, message)
        return entry


def question_parts(path: str) -> list[list[str]]:
    """The sources of questions of a path without ending: a file, and a folder of parts, as GQA's train_all_questions."""
    file, parts = f"{path}.json", sorted(glob.glob(os.path.join(glob.escape(path), "*.json")))
    return [source for source in ([file] if os.path.isfile(file) else [], parts) if source]


def entries(path: str) -> dict[str, Any]:
    """The content of a file of questions or scene graphs: id -> entry."""
    content = read_json(path, unique_keys=True)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; allowed: id -> entry, as GQA's files.")
    return content
