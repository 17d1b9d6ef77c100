"""Builder for CLEVR-XAI: questions about CLEVR images with masks of the objects that matter."""

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
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, question_features, question_row

LAYOUT = "*_simple_questions.json, *_complex_questions.json, ground_truth*/ and images/"
KINDS = ("single_object", "all_objects", "unique", "unique_firstnonempty", "union")
DEFAULT = {"simple": "single_object", "complex": "unique"}
COMPLEX = 100000  # what is added to the index of a complex question, so that ids are unique


def answer_text(answer: Any) -> str | None:
    """yes and no for truth values, digits for numbers, text as it is."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer) if isinstance(answer, (int, str)) else None


def last_step(program: Any) -> str:
    """What the last step of a program does: CLEVR calls it "function", CLEVR-XAI "type"."""
    step = program[-1] if program else {}
    return str(step.get("type") or step.get("function") or "")


@dataclass
class ClevrXaiConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    kind: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("kind", ("auto", *KINDS))

    def question_files(self) -> dict[str, str]:
        """Part ("simple", "complex") -> question file, where it exists."""
        base = glob.escape(self.base(LAYOUT))
        found = {part: sorted(glob.glob(os.path.join(base, f"*{part}_questions.json"))) for part in DEFAULT}
        twice = [paths for paths in found.values() if len(paths) > 1]
        if twice or not any(found.values()):
            raise ValueError(f"data_dir: question files {twice or 'missing'} in {base}; allowed: one each of {LAYOUT}.")
        return {part: paths[0] for part, paths in found.items() if paths}

    def files(self, pattern: str) -> list[str]:
        """Files below data_dir."""
        return sorted(glob.glob(os.path.join(glob.escape(self.base(LAYOUT)), pattern), recursive=True))

    def masks(self, part: str) -> dict[int, str]:
        """Question index -> mask file of the wanted kind."""
        kind = DEFAULT[part] if self.kind == "auto" else self.kind
        found: dict[int, str] = {}
        for path in self.files("ground_truth*/**/*.*"):
            stem, ending = os.path.splitext(os.path.basename(path))
            number, _, named = stem.lower().partition("_gt_")
            folder = os.path.basename(os.path.dirname(path)).lower()
            fits = named == kind if named else folder == f"ground_truth_{part}_questions_{kind}"
            if fits and number.isdigit() and ending in (".png", ".npy"):
                found[int(number)] = path
        return found

    def raw_files(self) -> tuple[list[str], list[str]]:
        return list(self.question_files().values()), [*self.files("ground_truth*/**/*.*"), *self.files("images/*.png")]


class ClevrXai(QuestionBuilder):
    """Questions with one answer and a mask; all in the split train (see hf_guidance.data.changing_prior_split)."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ClevrXaiConfig

    def _info(self) -> datasets.DatasetInfo:
        description = "Questions about CLEVR images with masks of the objects that matter, from CLEVR-XAI."
        return datasets.DatasetInfo(description=description, features=question_features("image", "mask"))

    def records(self) -> Mapping[str, Iterable[Any]]:
        images = {os.path.basename(path): path for path in self.config.files("images/*.png")}
        records = []
        for part, path in self.config.question_files().items():
            content, masks = read_json(path), self.config.masks(part)
            for question in content["questions"] if isinstance(content, dict) else content:
                index = int(question["question_index"])
                image = find_image(question, images)
                records.append((question, part, masks.get(index), image, f"{path}, question {index}"))
        return {"train": records}

    def row(self, record: Any) -> dict[str, Any]:
        question, part, mask, image, item = record
        answer = answer_text(question.get("answer"))
        if answer is None:
            raise InvalidAnnotation("answer is not text", item, f"its answer is {question.get('answer')!r}.")
        if mask is None:
            self.count("question without mask", item)
        if image is None:
            self.count("question without image", item)
        index = int(question["question_index"]) + (COMPLEX if part == "complex" else 0)
        entry = {"question_id": index, "image_id": question.get("image_index"), "question": question.get("question")}
        entry["question_type"] = last_step(question.get("program"))
        return question_row(entry, [answer], item, image=image, mask=None if mask is None else read_mask(mask, item))


def find_image(question: Mapping[str, Any], images: Mapping[str, str]) -> str | None:
    """The image file of a question: by its name, or by its index."""
    index = question.get("image_index")
    names = [str(question.get("image_filename")), f"{index}.png"]
    names += [f"CLEVR_{split}_{index:06d}.png" for split in ("val", "train", "test") if isinstance(index, int)]
    return next((images[name] for name in names if name in images), None)


def read_mask(path: str, item: str) -> Image.Image:
    """Read a mask as one channel of 0 and 255."""
    if path.endswith(".npy"):
        try:
            pixels = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidAnnotation("unreadable or truncated mask", item, f"{path}: {error}.") from None
    else:
        verify_image(path)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L")) > 127
    if pixels.ndim != 2:
        raise InvalidAnnotation("mask is not one channel", item, f"{path} has shape {pixels.shape}.")
    return Image.fromarray(np.where(pixels != 0, 255, 0).astype(np.uint8))
