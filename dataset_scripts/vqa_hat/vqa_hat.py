"""Builder for VQA-HAT: VQA v2's questions that have a human attention map, or scores of boxes made from it."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.images.rows import verify_image
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, question_features
from hf_guidance.data.questions.vqa_files import LAYOUT, VqaRecords, find_vqa_files, vqa_row
from hf_guidance.data.safe_pickle import safe_load


@dataclass
class VqaHatConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    maps_dir: str | None = None
    hints: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.maps_dir is not None and self.hints is not None:
            raise ValueError("maps_dir and hints: got both; pass one of them: rows carry either maps or scores.")

    def maps(self) -> dict[str, list[str]]:
        """Question id -> its maps, one per annotator."""
        base = self.base(LAYOUT)
        folder = os.path.join(base, os.path.expanduser(self.maps_dir or ""))
        paths = glob.glob(os.path.join(glob.escape(folder), "**", "*_*.png"), recursive=True)
        found: dict[str, list[str]] = {}
        for path in sorted(paths):
            number = os.path.basename(path).partition("_")[0]
            if number.isdigit():
                found.setdefault(number, []).append(path)
        if not found:
            raise ValueError(f"maps_dir: no {{question_id}}_*.png in {folder}; pass maps_dir or hints.")
        return found

    def scores(self) -> dict[str, Any]:
        """Question id -> one score per box."""
        path = os.path.join(self.base(LAYOUT), os.path.expanduser(str(self.hints)))
        if not os.path.isfile(path):
            raise ValueError(f"hints: {path} does not exist; pass a .json or .pkl file of question id -> scores.")
        content = safe_load(path) if path.endswith((".pkl", ".pickle")) else read_json(path)
        if not isinstance(content, Mapping):
            raise ValueError(
                f"hints: {path} holds a {type(content).__name__}; allowed: question id -> scores of boxes."
            )
        return {str(number): scores for number, scores in content.items()}

    def raw_files(self) -> tuple[list[str], list[str]]:
        paths = [path for pair in find_vqa_files(self.base(LAYOUT)).values() for path in pair if path]
        if self.hints is not None:
            return [*paths, os.path.join(self.base(LAYOUT), os.path.expanduser(self.hints))], []
        return paths, [path for group in self.maps().values() for path in group]


class VqaHat(QuestionBuilder):
    """Questions with human attention: the mean map of all annotators, or scores of boxes."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaHatConfig

    def _info(self) -> datasets.DatasetInfo:
        column = "mask" if self.config.hints is None else "importance"
        description = "Questions about images with human attention, from VQA v2 and VQA-HAT."
        return datasets.DatasetInfo(description=description, features=question_features(column))

    def records(self) -> Mapping[str, Iterable[Any]]:
        known = self.config.maps() if self.config.hints is None else self.config.scores()
        unused, splits = dict(known), {}
        for split, pair in find_vqa_files(self.config.base(LAYOUT)).items():
            source = VqaRecords(pair)
            records = [(record, known.get(str(record[0].get("question_id")))) for record in source]
            for problem in source.problems:
                self.problem(problem)
            kept = [entry for entry in records if entry[1] is not None]
            for record, _ in kept:
                unused.pop(str(record[0]["question_id"]), None)
            if kept:
                splits[split] = kept
        for number in unused:
            self.count("attention without question", f"question {number}")
        return splits

    def row(self, record: Any) -> dict[str, Any]:
        question, attention = record
        if self.config.hints is None:
            return vqa_row(question, mask=mean_map(attention))
        scores = np.asarray(attention, np.float32).reshape(-1)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise InvalidAnnotation("score outside [0, 1]", question[2], f"its scores are {scores.tolist()}.")
        return vqa_row(question, importance=scores.tolist())


def mean_map(paths: list[str]) -> Image.Image:
    """The mean of the annotators' maps, one channel of 8 bit."""
    sizes = {verify_image(path) for path in paths}
    if len(sizes) > 1:
        message = f"its {len(paths)} maps have sizes {sorted(sizes)}."
        raise InvalidAnnotation("maps of different size", paths[0], message)
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(np.asarray(image.convert("L"), np.float64))
    return Image.fromarray(np.round(np.mean(pixels, 0)).astype(np.uint8))
