"""Builder for GQA: the boxes of the objects that a question's program points to."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, question_features, question_row

LAYOUT = "train_balanced_questions.json (val, testdev) and train_sceneGraphs.json (val), or sceneGraphs.json"
SPLITS = {"train": "train", "val": "validation", "testdev": "testdev", "test": "test"}
OUTSIDE = "object outside the image"
SHORT = 3  # digits: numbers of this length or shorter in a program are not object ids


def object_ids(program: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every number in the arguments of a program, as text, in order."""
    return [number for step in program for number in re.findall(r"\d+", str(step.get("argument") or ""))]


def reference_boxes(
    ids: Iterable[str], graph: Mapping[str, Any], item: str
) -> Iterator[list[float] | InvalidAnnotation]:
    """Yield the box of each object in [0, 1], clipped to the image, or an error for an object without such a box."""
    width, height = float(graph["width"]), float(graph["height"])
    for number in ids:
        if len(number) <= SHORT:
            continue
        entry = graph["objects"].get(number)
        if entry is None:
            message = f"its program points to object {number}, which the scene graph does not hold."
            yield InvalidAnnotation("program points to a missing object", f"{item}, object {number}", message)
            continue
        x, y, w, h = (float(entry[key]) for key in "xywh")
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            message = f"its box, x {x:g}, y {y:g}, w {w:g}, h {h:g}, is outside the image, {width:g}x{height:g}."
            yield InvalidAnnotation(OUTSIDE, f"{item}, object {number}", message)
            continue
        corners = (x / width, y / height, (x + w) / width, (y + h) / height)
        # rounded to the column's float32 here, so that streaming gives the same numbers
        yield [float(np.float32(min(max(value, 0.0), 1.0))) for value in corners]


@dataclass
class GqaConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    def question_files(self) -> dict[str, str]:
        """Split -> question file."""
        base = self.base(LAYOUT)
        found: dict[str, str] = {}
        for inner in ("", "questions", "questions1.2"):
            for name, split in SPLITS.items():
                for ending in ("balanced_questions", "all_questions", "questions"):
                    path = os.path.join(base, inner, f"{name}_{ending}.json")
                    if os.path.isfile(path):
                        found.setdefault(split, path)
        if not found:
            raise ValueError(f"data_dir: no question file in {base}; allowed: a folder with {LAYOUT}.")
        return found

    def graph_files(self) -> list[str]:
        """Every scene graph file."""
        base = glob.escape(self.base(LAYOUT))
        patterns = [os.path.join(base, inner, "*sceneGraphs.json") for inner in ("", "sceneGraphs")]
        return [path for pattern in patterns for path in sorted(glob.glob(pattern))]

    def raw_files(self) -> tuple[list[str], list[str]]:
        return [*self.question_files().values(), *self.graph_files()], []


class Gqa(QuestionBuilder):
    """Questions with one answer and the boxes of the objects that matter."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = GqaConfig

    def _info(self) -> datasets.DatasetInfo:
        features = question_features("reference_boxes")
        return datasets.DatasetInfo(
            description="Questions about images with the boxes that matter, from GQA.", features=features
        )

    def records(self) -> Mapping[str, Iterable[Any]]:
        graphs = {image: graph for path in self.config.graph_files() for image, graph in read_json(path).items()}
        return {
            split: [
                (number, question, graphs.get(str(question.get("imageId"))), f"{path}, question {number}")
                for number, question in read_json(path).items()
            ]
            for split, path in self.config.question_files().items()
        }

    def row(self, record: Any) -> dict[str, Any]:
        number, question, graph, item = record
        types = question.get("types") or {}
        entry = {"question_id": number, "image_id": question.get("imageId"), "question": question.get("question")}
        answers = [question["answer"]] if question.get("answer") is not None else []
        boxes = self._boxes(question.get("semantic") or [], graph, item)
        entry["question_type"] = types.get("structural")
        return question_row(entry, answers, item, reference_boxes=boxes)

    def _boxes(self, program: Any, graph: Any, item: str) -> list[list[float]] | None:
        ids = object_ids(program)
        if not ids:
            self.count("program names no object", item)
            return None
        if graph is None:
            self.count("image without scene graph", item)
            return None
        boxes = []
        for found in reference_boxes(ids, graph, item):
            if not isinstance(found, InvalidAnnotation):
                boxes.append(found)
            elif found.reason == OUTSIDE:  # nothing to repair: no detected box can overlap it
                self.count(found.reason, found.item)
            else:
                self.problem(found)
        return boxes
