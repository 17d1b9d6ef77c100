"""Builder for CLEVR-XAI and CLEVR: questions about rendered scenes with masks or boxes of the objects that matter."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import datasets
from hf_guidance.dataset_scripts.clevr_xai.masks import read_mask
from hf_guidance.dataset_scripts.clevr_xai.programs import KINDS, important_objects, step_name
from hf_guidance.dataset_scripts.clevr_xai.scenes import Scenes, find_scenes, object_box, render_size

from hf_guidance.data.builder_base import InvalidAnnotation, id_text, read_json
from hf_guidance.data.images.image_files import IMAGE_EXTENSIONS, FileIndex, files_below, stem, with_slashes
from hf_guidance.data.images.pictures import verify_image
from hf_guidance.data.questions.published import any_answer
from hf_guidance.data.questions.rows import (
    QuestionBuilder,
    QuestionConfig,
    Record,
    known_image,
    question_features,
    question_row,
)

LAYOUT = "CLEVR-XAI_simple_questions.json, CLEVR-XAI_complex_questions.json, or CLEVR_train_questions.json (val, test)"
SOURCES = ("auto", "masks", "scenes")
XAI = {"simple": "single_object", "complex": "unique"}  # part -> the kind of "auto"
CLEVR = {"train": "train", "val": "validation", "test": "test"}
CLEVR |= {f"{name}{cogent}": f"{split}_{cogent.lower()}" for name, split in CLEVR.items() for cogent in "AB"}
_NAME = re.compile(rf"(?:.*_)?({'|'.join([*XAI, *CLEVR])})_questions\.json")
MASKS = (".png", ".npy")
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
    scene_size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("kind", ("auto", *KINDS))
        self.check_choice("importance", SOURCES)
        size = self.scene_size
        if size is not None and (
            not isinstance(size, list | tuple) or len(size) != 2 or not all(type(n) is int and n > 0 for n in size)
        ):
            raise ValueError(f"scene_size: got {size!r}; allowed: (width, height) of the rendered images in pixels.")

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

    def mask_files(self) -> list[str]:
        """All files of masks, .png or .npy."""
        folders = sorted(glob.glob(os.path.join(glob.escape(self.base(LAYOUT)), "ground_truth*")))
        return [path for folder in folders for path in files_below(folder) if path.lower().endswith(MASKS)]

    def images(self) -> FileIndex:
        """All images."""
        return FileIndex(os.path.join(self.base(LAYOUT), "images"), IMAGE_EXTENSIONS)

    def wanted(self, part: str) -> str:
        """The kind of importance of a part."""
        return XAI.get(part, XAI["complex"]) if self.kind == "auto" else self.kind

    def masks(self, part: str) -> dict[str, str]:
        """Question index -> mask file of the wanted kind."""
        kind, found = self.wanted(part), dict[str, str]()
        for path in self.mask_files():
            number, _, named = os.path.splitext(os.path.basename(path))[0].lower().partition("_gt_")
            folder = os.path.basename(os.path.dirname(path)).lower()
            fits = named == kind if named else folder == f"ground_truth_{part}_questions_{kind}"
            if not fits or not number.isdecimal():
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
        return "scenes" if self.scene_files() and not self.mask_files() else "masks"

    def raw_files(self) -> tuple[list[str], list[str]]:
        texts = {*self.question_files().values(), *self.scene_files().values()}
        images = self.images()
        return sorted(texts), [*self.mask_files(), *(images.path(name) for name in images.names)]


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
        images = self.config.images()
        scenes = {part: Scenes(path) for part, path in self.config.scene_files().items()} if self._by_scenes() else {}
        for problem in (problem for each in scenes.values() for problem in each.problems):
            self.problem(problem)
        indices = [{index_of(question) for question in questions} for _, questions in files.values()]
        shared = set.intersection(*indices) if len(indices) > 1 else set()
        splits: dict[str, list[Record]] = {}
        for part, (path, questions) in files.items():
            masks = {} if self._by_scenes() else self.config.masks(part)
            if self.config.kind == "all_objects":  # named by the index alone, they do not say of which part
                masks = {
                    index: mask for index, mask in masks.items() if index not in shared or "_gt_" not in mask.lower()
                }
            answered = any_answer(questions)
            records = splits.setdefault(CLEVR.get(part, "train"), [])
            for item, question in self._once(path, questions):
                mask = masks.get(index_of(question) or "")
                more = self.read(item, partial(image_and_scene, item, part, images, scenes.get(part)), question)
                if more is not None:
                    records.append((item, (question, part, mask, *more, answered)))
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
        question, part, mask, image, scene, reach, answered = record
        given = question.get("answer")
        answer = answer_text(given)
        if answer is None and (answered or given is not None):
            raise InvalidAnnotation("answer is not text", item, f"its answer is {given!r}.")
        text = id_text(question["question_index"])
        if not text.isdecimal():
            message = f"its question_index is {text!r}; allowed: a whole number, as in CLEVR's files."
            raise InvalidAnnotation("question_index is no number", item, message)
        index = int(text) + (COMPLEX if part == "complex" else 0)
        entry = {"question_id": index, "image_id": question.get("image_index"), "question": question.get("question")}
        program = question.get("program") or []
        entry["question_type"] = step_name(program[-1]) if program else ""
        row = question_row(entry, [] if answer is None else [answer], item, image=image)
        size = None if image is None else verify_image(image)
        if size is None:
            self.count("question without image", item)
        if self._by_scenes():
            return {**row, "reference_boxes": self._boxes(program, scene, size, reach, part, item)}
        if mask is None:
            self.count("question without mask", item)
        return {**row, "mask": None if mask is None else read_mask(mask, size, item)}

    def _boxes(
        self, program: Any, scene: Any, image: tuple[int, int] | None, reach: Sequence[float], part: str, item: str
    ) -> list[list[float]] | None:
        if not program or scene is None:
            self.count("question without program" if scene is not None else "question without scene", item)
            return None
        numbers, boxes = important_objects(program, scene, self.config.wanted(part)), []
        if not numbers:
            self.count("program finds no object", item)
            return None
        size = render_size(reach, image, self.config.scene_size, item)
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
        text = id_text(question["question_index"])
    except (KeyError, TypeError, ValueError):
        return None
    return str(int(text)) if text.isdecimal() else text


def image_and_scene(
    item: str, part: str, images: FileIndex, scenes: Scenes | None, question: Mapping[str, Any]
) -> tuple[str | None, Any, Sequence[float]]:
    """A question's image file, its scene, and how far the places of all scenes of its file reach (see `render_size`)."""
    image = find_image(question, images, part, item)
    return (image, None, (0, 0)) if scenes is None else (image, scenes.of(question), scenes.reach)


def find_image(question: Mapping[str, Any], images: FileIndex, part: str, item: str) -> str | None:
    """The image file of a question, None where there is none: by its name, or by its index where only one file has it.

    Of files of one name that of the question's part counts (images/train/ for CLEVR's training questions). A file of another
    ending than the name's counts where there is none of the name.

    Raises:
        InvalidAnnotation: Several files have the name.
    """
    given = question.get("image_filename")
    named = [] if given is None else [with_slashes(given), stem(with_slashes(given))]
    if question.get("image") is not None:
        named.append(id_text(question["image"]))
    for name in named:
        found = images.find(f"{part}/{name}") or images.find(name)
        if len(found) > 1:
            message = f"its image may be any of {found[:3]} in {images.folder}; name it with its folder, or keep one."
            raise InvalidAnnotation("several images of one name", item, message)
        if found:
            return images.path(found[0])
    index, split = known_image(question.get("image_index")), question.get("split")
    if index is None or not index.isdecimal():
        return None
    names = [index, *(f"CLEVR_{each}_{int(index):06d}" for each in ((split,) if split else CLEVR))]
    fitting = [name for each in names for name in images.find(each)]
    return images.path(fitting[0]) if len(fitting) == 1 else None
