"""Builder for CLEVR-XAI and CLEVR: questions about rendered scenes with masks or boxes of the objects that matter."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
from hf_guidance.dataset_scripts.clevr_xai.masks import read_mask
from hf_guidance.dataset_scripts.clevr_xai.programs import KINDS, important_objects, step_name
from hf_guidance.dataset_scripts.clevr_xai.scenes import SIZE, Scenes, find_scenes, object_box

from hf_guidance.data.builder_base import InvalidAnnotation, id_text, read_json
from hf_guidance.data.images.pictures import verify_image
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, Record, question_features, question_row

LAYOUT = "CLEVR-XAI_simple_questions.json, CLEVR-XAI_complex_questions.json, or CLEVR_train_questions.json (val, test)"
SOURCES = ("auto", "masks", "scenes")
XAI = {"simple": "single_object", "complex": "unique"}  # part -> the kind of "auto"
CLEVR = {"train": "train", "val": "validation", "test": "test"}
CLEVR |= {f"{name}{cogent}": f"{split}_{cogent.lower()}" for name, split in CLEVR.items() for cogent in "AB"}
_NAME = re.compile(rf"(?:.*_)?({'|'.join([*XAI, *CLEVR])})_questions\.json")
COMPLEX = 100000  # what is added to the index of a complex question, so that ids are unique


def answer_text(answer: Any) -> str | None:
    """yes and no for truth values, digits for numbers, text as it is."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer) if isinstance(answer, (int, str)) else None


@dataclass
class ClevrXaiConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    kind: str = "auto"
    importance: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("kind", ("auto", *KINDS))
        self.check_choice("importance", SOURCES)

    def question_files(self) -> dict[str, str]:
        """Part ("simple", "complex", or CLEVR's name of a split) -> question file, where it exists."""
        base = self.base(LAYOUT)
        found: dict[str, str] = {}
        for inner in ("", "questions"):
            for path in sorted(glob.glob(os.path.join(glob.escape(base), inner, "*_questions.json"))):
                match = _NAME.fullmatch(os.path.basename(path))
                if match is None:
                    raise ValueError(
                        f"data_dir: {path} has no part's name; allowed: {LAYOUT}. Rename it or move it away."
                    )
                if match[1] in found:
                    raise ValueError(
                        f"data_dir: question files {found[match[1]]} and {path} are both {match[1]}; keep one."
                    )
                found[match[1]] = path
        if not found or ({*found} & {*XAI} and {*found} & {*CLEVR}):
            raise ValueError(
                f"data_dir: question files {sorted(found.values()) or 'missing'} in {base}; allowed: {LAYOUT}, not of both."
            )
        return {part: found[part] for part in (*XAI, *CLEVR) if part in found}

    def files(self, pattern: str) -> list[str]:
        """Files below data_dir."""
        return sorted(glob.glob(os.path.join(glob.escape(self.base(LAYOUT)), pattern), recursive=True))

    def wanted(self, part: str) -> str:
        """The kind of importance of a part."""
        return XAI.get(part, XAI["complex"]) if self.kind == "auto" else self.kind

    def masks(self, part: str) -> dict[str, str]:
        """Question index -> mask file of the wanted kind."""
        kind, found = self.wanted(part), dict[str, str]()
        for path in self.files("ground_truth*/**/*.*"):
            stem, ending = os.path.splitext(os.path.basename(path))
            number, _, named = stem.lower().partition("_gt_")
            folder = os.path.basename(os.path.dirname(path)).lower()
            fits = named == kind if named else folder == f"ground_truth_{part}_questions_{kind}"
            if not fits or not number.isdecimal() or ending.lower() not in (".png", ".npy"):
                continue
            other = found.setdefault(str(int(number)), path)
            if other != path:
                raise ValueError(f"{other} and {path} are masks of one question; keep one of them.")
        return found

    def scene_files(self) -> dict[str, str]:
        """Part -> scene file, where it exists."""
        files = self.question_files().items()
        found = {part: find_scenes(self.base(LAYOUT), path, only=part in XAI) for part, path in files}
        return {part: path for part, path in found.items() if path is not None}

    def source(self) -> str:
        """Where importance comes from: "masks", or "scenes" if asked for or if there are scenes and no masks."""
        if self.importance == "scenes" and not self.scene_files():
            raise ValueError(
                f"importance: 'scenes' needs scene files, such as CLEVR_train_scenes.json, in {self.data_dir}."
            )
        if self.importance != "auto":
            return self.importance
        return "scenes" if self.scene_files() and not self.files("ground_truth*/**/*.*") else "masks"

    def raw_files(self) -> tuple[list[str], list[str]]:
        texts = {*self.question_files().values(), *self.scene_files().values()}
        return sorted(texts), [*self.files("ground_truth*/**/*.*"), *self.files("images/**/*.png")]


class ClevrXai(QuestionBuilder):
    """Questions with one answer; CLEVR-XAI's all in the split train (see hf_guidance.data.changing_prior_split)."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ClevrXaiConfig

    def _info(self) -> datasets.DatasetInfo:
        column = "mask" if self.config.source() == "masks" else "reference_boxes"
        description = "Questions about CLEVR images with the objects that matter, from CLEVR-XAI or CLEVR."
        return datasets.DatasetInfo(description=description, features=question_features("image", column))

    def records(self) -> Mapping[str, Iterable[Record]]:
        files = {part: (path, questions_of(path)) for part, path in self.config.question_files().items()}
        images = {os.path.basename(path): path for path in self.config.files("images/**/*.png")}
        scenes = {part: Scenes(path) for part, path in self.config.scene_files().items()} if self._by_scenes() else {}
        indices = [{index_of(question) for question in questions} for _, questions in files.values()]
        shared = set.intersection(*indices) if len(indices) > 1 else set()
        splits: dict[str, list[Record]] = {}
        for part, (path, questions) in files.items():
            masks = {} if self._by_scenes() else self.config.masks(part)
            if self.config.kind == "all_objects":  # named by the index alone, they do not say of which part
                masks = {
                    index: mask for index, mask in masks.items() if index not in shared or "_gt_" not in mask.lower()
                }
            # test questions are published without answers; elsewhere a question without one is a fault
            answered = any(isinstance(each, dict) and each.get("answer") is not None for each in questions)
            records = splits.setdefault(CLEVR.get(part, "train"), [])
            for item, question in self._once(path, questions):
                asked = question if isinstance(question, dict) else {}
                scene = scenes[part].of(asked) if part in scenes else None
                mask = masks.get(index_of(question) or "")
                records.append((item, (question, part, mask, find_image(asked, images), scene, answered)))
        return splits

    def _once(self, path: str, questions: list[Any]) -> Iterator[Record]:
        """Yield each question with what names it; one whose index an earlier one has is a problem."""
        seen = set()
        for place, question in enumerate(questions):
            index = index_of(question)
            item = f"{path}, question {f'number {place}' if index is None else index}"
            if index is not None and index in seen:
                message = "an earlier question has the same index."
                self.problem(InvalidAnnotation("question listed twice", item, message))
                continue
            seen.add(index)
            yield item, question

    def _by_scenes(self) -> bool:
        return bool(self.config.source() == "scenes")

    def row(self, item: str, record: Any) -> dict[str, Any]:
        question, part, mask, image, scene, answered = record
        given = question.get("answer")
        answer = answer_text(given)
        if answer is None and (answered or given is not None):
            raise InvalidAnnotation("answer is not text", item, f"its answer is {given!r}.")
        index = int(id_text(question["question_index"])) + (COMPLEX if part == "complex" else 0)
        entry = {"question_id": index, "image_id": question.get("image_index"), "question": question.get("question")}
        program = question.get("program") or []
        entry["question_type"] = step_name(program[-1]) if program else ""
        row = question_row(entry, [] if answer is None else [answer], item, image=image)
        size = None if image is None else verify_image(image)
        if size is None:
            self.count("question without image", item)
        if self._by_scenes():
            return {**row, "reference_boxes": self._boxes(program, scene, size or SIZE, part, item)}
        if mask is None:
            self.count("question without mask", item)
        return {**row, "mask": None if mask is None else read_mask(mask, size, item)}

    def _boxes(self, program: Any, scene: Any, size: tuple[int, int], part: str, item: str) -> list[list[float]] | None:
        if not program or scene is None:
            self.count("question without program" if scene is not None else "question without scene", item)
            return None
        numbers, boxes = important_objects(program, scene, self.config.wanted(part)), []
        if not numbers:
            self.count("program finds no object", item)
            return None
        for number in numbers:
            thing = f"{item}, object {number}"
            try:
                box, cut = object_box(scene["objects"][number], size, thing)
            except InvalidAnnotation as error:
                if error.reason != "box outside the image":
                    raise
                self.count("object outside the image", error.item)  # no detected box can overlap it
                continue
            if cut:
                self.count(cut, thing)
            boxes.append(box)
        return boxes


def questions_of(path: str) -> list[Any]:
    """The questions of a file."""
    content = read_json(path)
    questions = content.get("questions") if isinstance(content, dict) else content
    if not isinstance(questions, list):
        raise ValueError(f"{path}: no list of questions; allowed: {{'questions': [...]}}, as CLEVR's files.")
    return questions


def index_of(question: Any) -> str | None:
    """A question's index as text; None where it has none, which is refused with its row."""
    try:
        return id_text(question["question_index"])
    except (KeyError, TypeError, ValueError):
        return None


def find_image(question: Mapping[str, Any], images: Mapping[str, str]) -> str | None:
    """The image file of a question: by its name, or by its index where only one file has it."""
    named = (question.get("image_filename"), f"{question.get('image')}.png")
    found = next((images[name] for name in named if name in images), None)
    if found is not None:
        return found
    index, split = question.get("image_index"), question.get("split")
    if isinstance(index, bool) or not isinstance(index, int):
        return None
    names = [f"CLEVR_{each}_{index:06d}.png" for each in ((split,) if split else CLEVR)]
    fitting = [images[name] for name in (f"{index}.png", *names) if name in images]
    return fitting[0] if len(fitting) == 1 else None
