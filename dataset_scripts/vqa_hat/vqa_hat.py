"""Builder for VQA-HAT: VQA v2's questions that have a human attention map, or scores of boxes made from it."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import InvalidAnnotation, id_text, read_json
from hf_guidance.data.images.image_files import files_below
from hf_guidance.data.images.pictures import grey_levels, open_picture
from hf_guidance.data.questions.published import published_with_answers
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, Record, question_features, row_id
from hf_guidance.data.questions.vqa_files import LAYOUT, counted_pairs, find_vqa_files, vqa_records, vqa_row
from hf_guidance.data.safe_pickle import safe_load

MAP = re.compile(r"(?P<question>\d+)(?:_(?P<annotator>\d+))?\.png", re.IGNORECASE)


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
        found: dict[str, dict[str | None, str]] = {}
        for path in self.pictures():
            match = MAP.fullmatch(os.path.basename(path))
            if match is None:
                continue
            maps = found.setdefault(id_text(int(match["question"])), {})
            if match["annotator"] in maps or (maps and None in (match["annotator"], *maps)):
                raise ValueError(
                    f"maps_dir: {path} and {next(iter(maps.values()))} are both of question {match['question']}; keep one map "
                    "per annotator, or one for all of them."
                )
            maps[match["annotator"]] = path
        if not found:
            raise ValueError(
                f"maps_dir: no {{question_id}}_{{annotator}}.png or {{question_id}}.png in {self.folder()}; pass maps_dir or "
                "hints."
            )
        return {number: list(maps.values()) for number, maps in found.items()}

    def folder(self) -> str:
        """The folder of the maps."""
        return os.path.join(self.base(LAYOUT), os.path.expanduser(self.maps_dir or ""))

    def pictures(self) -> list[str]:
        """Every .png file in the folder of the maps."""
        return sorted(path for path in files_below(self.folder()) if path.lower().endswith(".png"))

    def raw_scores(self) -> Mapping[Any, Any]:
        """The content of the file of scores: question id -> one score per box."""
        path = self.option_file("hints")
        pickled = path.lower().endswith((".pkl", ".pickle"))
        content = safe_load(path) if pickled else read_json(path, unique_keys=True)
        if not isinstance(content, Mapping):
            raise ValueError(
                f"hints: {path} holds a {type(content).__name__}; allowed: question id -> scores of boxes."
            )
        return content

    def raw_files(self) -> tuple[list[str], list[str]]:
        paths = [path for pair in find_vqa_files(self.base(LAYOUT)).values() for path in pair if path]
        if self.hints is not None:
            return [*paths, self.option_file("hints")], []
        return paths, [path for group in self.maps().values() for path in group]


class VqaHat(QuestionBuilder):
    """Questions with human attention: the mean map of all annotators, or scores of boxes."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaHatConfig

    def _info(self) -> datasets.DatasetInfo:
        column = "mask" if self.config.hints is None else "importance"
        description = "Questions about images with human attention, from VQA v2 and VQA-HAT."
        return datasets.DatasetInfo(description=description, features=question_features(column))

    def records(self) -> Mapping[str, Iterable[Record]]:
        known = self.config.maps() if self.config.hints is None else self._scores()
        unused, splits = dict(known), {}
        for split, pair in counted_pairs(self, self.config.base(LAYOUT)).items():
            kept = []
            for item, question in vqa_records(self, pair, published_with_answers(split)):
                number = row_id(question[0]["question_id"], "question_id", item)
                if number in known:
                    unused.pop(number, None)
                    kept.append((item, (question, known[number])))
            if kept:
                splits[split] = kept
        for number in unused:
            self.count("attention without question", f"question {number}")
        if self.config.maps_dir is not None:
            for path in self.config.pictures():
                if not MAP.fullmatch(os.path.basename(path)):
                    self.count("picture whose name is no question's", path)
        return splits

    def _scores(self) -> dict[str, Any]:
        """Question id -> one score per box."""
        found: dict[str, Any] = {}
        for given, scores in self.config.raw_scores().items():
            item = f"hints: {self.config.hints}, key {given!r:.60}"
            number = self.read(item, lambda key, item=item: row_id(key, "question id", item), given)
            if number is None:
                continue
            if number in found:
                raise ValueError(f"{item}: it has question {number} twice, as text and as number; keep one.")
            found[number] = scores
        return found

    def row(self, item: str, record: Any) -> dict[str, Any]:
        question, attention = record
        if self.config.hints is None:
            return vqa_row(item, question, mask=mean_map(attention))
        return vqa_row(item, question, importance=box_scores(attention, item))


def mean_map(paths: list[str]) -> Image.Image:
    """The mean of the annotators' maps, one channel of 8 bit; see `eight_bit`."""
    maps = [grey_levels(open_picture(path), path) for path in paths]
    sizes = {each.shape[::-1] for each in maps}
    if len(sizes) > 1:
        raise InvalidAnnotation(
            "maps of different size", paths[0], f"its {len(paths)} maps have sizes {sorted(sizes)}."
        )
    return Image.fromarray(eight_bit(np.mean(maps, 0)))


def eight_bit(levels: np.ndarray) -> np.ndarray:
    """A map in [0, 1] as whole numbers up to 255, scaled to have 255 as its largest where it would otherwise be rounded.

    The scale of a map does not matter (see `box_importance_from_map`); rounding a faint one would lose it.
    """
    values = levels * 255
    if not np.allclose(values, np.round(values), rtol=0, atol=1e-9):
        values = levels / levels.max() * 255
    return np.round(values).astype(np.uint8)


def box_scores(given: Any, item: str) -> list[float]:
    """The scores of a question's boxes: one number in [0, 1] per box, also as a column."""
    if given is None:
        raise InvalidAnnotation("scores are not one per box", item, "its scores are null; remove its entry.")
    try:
        scores = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidAnnotation("scores are not numbers", item, f"its scores are {given!r:.60} ({error}).") from None
    if not scores.size or scores.shape not in ((scores.size,), (scores.size, 1)):
        raise InvalidAnnotation("scores are not one per box", item, f"its scores have shape {scores.shape}.")
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that NaN is refused too
        raise InvalidAnnotation("score outside [0, 1]", item, f"its scores are {scores.ravel().tolist()}.")
    return [float(score) for score in scores.ravel().astype(np.float32)]
