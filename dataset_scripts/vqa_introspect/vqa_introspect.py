"""Builder for VQA-Introspect: reasoning questions with their sub-questions, and irrelevant questions about the same image."""

import glob
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
from hf_guidance.dataset_scripts.vqa_introspect.sub_questions import Candidate, SubQuestions, candidate, same_words

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.answer_texts import answer_texts
from hf_guidance.data.questions.rows import (
    QuestionBuilder,
    QuestionConfig,
    Record,
    known_image,
    question_features,
    question_row,
    row_id,
)
from hf_guidance.data.questions.vqa_files import LAYOUT as VQA_LAYOUT
from hf_guidance.data.questions.vqa_files import Pair, Question, find_vqa_files, vqa_records

LAYOUT = "VQAIntrospect_trainv1.0.json and VQAIntrospect_valv1.0.json, or one of them"
SPLITS = {"train": "train", "val": "validation"}
_NAME = re.compile(r"VQAIntrospect_(?P<split>train|val)(?:[_-]\w+?)?(?:v[\d.]+)?\.json")
_IRRELEVANT = ("vqa", "all")
Known = tuple[str, Question]
"""What names a question of VQA v2, and the question."""


@dataclass
class VqaIntrospectConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    questions_dir: str | None = None
    irrelevant: str = "vqa"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("irrelevant", _IRRELEVANT)

    def introspect_files(self) -> dict[str, str]:
        """Split -> its file of sub-questions."""
        base, found = self.base(LAYOUT), {}
        for path in sorted(glob.glob(os.path.join(glob.escape(base), "VQAIntrospect_*.json"))):
            match = _NAME.fullmatch(os.path.basename(path))
            if match is None:
                raise ValueError(f"{path}: its name does not say which split it is; allowed: {LAYOUT}. Rename it.")
            split = SPLITS[match["split"]]
            if split in found:
                raise ValueError(
                    f"{path} and {found[split]} are both of split {split}; keep one of them in the folder."
                )
            found[split] = path
        if not found:
            raise ValueError(f"data_dir: no VQAIntrospect_*.json in {base}; allowed: a folder with {LAYOUT}.")
        return found

    def question_files(self) -> dict[str, Pair]:
        """Split -> its files of VQA v2; empty where data_dir holds none and no other folder is given."""
        base = self.base(LAYOUT)
        folder = os.path.join(base, os.path.expanduser(self.questions_dir or ""))
        if self.questions_dir is not None and not os.path.isdir(folder):
            raise ValueError(f"questions_dir: {folder} is not a folder; pass the one that holds {VQA_LAYOUT}.")
        patterns = [os.path.join(glob.escape(folder), inner, "*questions.json") for inner in ("", "questions")]
        if self.questions_dir is None and not any(map(glob.glob, patterns)):
            return {}
        pairs = find_vqa_files(folder)
        return {split: pairs[split] for split in self.introspect_files() if split in pairs}

    def raw_files(self) -> tuple[list[str], list[str]]:
        paired = [path for pair in self.question_files().values() for path in pair if path]
        return [*self.introspect_files().values(), *paired], []


class VqaIntrospect(QuestionBuilder):
    """Reasoning questions of VQA v2 with what they rest on, and with questions that they do not rest on."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaIntrospectConfig

    def _info(self) -> datasets.DatasetInfo:
        text = datasets.Value("string")
        asked = datasets.List({"question": text, "answers": datasets.List(text)})
        features = {**question_features(), "sub_questions": asked, "irrelevant_questions": asked}
        description = (
            "Reasoning questions about images with sub-questions and irrelevant questions, from VQA-Introspect."
        )
        return datasets.DatasetInfo(description=description, features=datasets.Features(features))

    def records(self) -> Mapping[str, Iterable[Record]]:
        pairs, splits, seen = self.config.question_files(), {}, {}
        for split, path in self.config.introspect_files().items():
            entries = self._entries(path, seen)
            asked: dict[str, Known] = {}
            if split in pairs:
                records = vqa_records(self, pairs[split], True)
                asked = {row_id(each[1][0]["question_id"], "question_id", each[0]): each for each in records}
            else:
                self.count("split without questions of VQA v2", path)
            splits[split] = self._records(entries, asked, known=split in pairs)
        return {split: records for split, records in splits.items() if records}

    def _entries(self, path: str, seen: dict[str, str]) -> dict[str, tuple[str, Any]]:
        """Id of a reasoning question -> what names its entry, and the entry; ``seen`` gains the ids."""
        content = read_json(path, unique_keys=True)
        if not isinstance(content, dict):
            raise ValueError(
                f"{path} holds a {type(content).__name__}; allowed: id of a reasoning question -> its entry."
            )
        found: dict[str, tuple[str, Any]] = {}
        for key, entry in content.items():
            item = f"{path}, question {key.strip()}"
            number = self.read(item, lambda given, item=item: row_id(given, "question_id", item), key)
            if number is None:
                continue
            if number in seen:
                message = f"{seen[number]} has a reasoning question of this id."
                self.problem(InvalidAnnotation("reasoning question listed twice", f"{path}, key {key!r}", message))
                continue
            seen[number] = path
            found[number] = (item, entry)
        return found

    def _records(self, entries: dict[str, tuple[str, Any]], asked: dict[str, Known], known: bool) -> list[Record]:
        """The reasoning questions that have sub-questions, with the other questions about their images."""
        reader, whole, others = SubQuestions(self.count, self.problem), {}, Others()
        for number, (item, entry) in entries.items():
            subs = self.read(item, lambda given, item=item: reader.read(item, given), entry)
            if subs is None:
                continue
            if known and number not in asked:
                message = f"the questions of VQA v2 have no question {number}."
                self.problem(InvalidAnnotation("id names no question of VQA v2", item, message))
            elif not subs:
                self.count("reasoning question without sub-questions", item)
            else:
                whole[number] = (item, entry, subs)
                if self.config.irrelevant == "all":
                    others.add(image_of(entry, asked.get(number)), number, subs)
        for number, known_question in asked.items():
            if number not in entries:  # those in it ask for reasoning themselves
                one = self.read(known_question[0], perception_question, known_question)
                others.add(image_of({}, known_question), number, one or [])
        return [
            (item, (number, entry, asked.get(number), subs, others.of(image_of(entry, asked.get(number)), number)))
            for number, (item, entry, subs) in whole.items()
        ]

    def row(self, item: str, record: Any) -> dict[str, Any]:
        number, entry, known, subs, others = record
        raw, answers = self._reasoning(number, entry, known, item)
        taken = {same_words(each["question"]) for each in [*subs, {"question": raw["question"]}]}
        irrelevant: list[Candidate] = []
        for one in others:
            words = same_words(one["question"])
            if words and words not in taken:
                irrelevant.append(one)
                taken.add(words)
        if not irrelevant:
            self.count("reasoning question without irrelevant questions", item)
        return question_row(raw, answers, item, sub_questions=subs, irrelevant_questions=irrelevant)

    def _reasoning(self, number: str, entry: Any, known: Known | None, item: str) -> tuple[dict[str, Any], Any]:
        """The reasoning question as VQA v2 has it, where it is known, and its raw answers."""
        image = entry.get("image_id")
        if known is None:
            answer = entry.get("reasoning_answer_most_common")
            if answer is None or answer == "":
                message = "it has no reasoning_answer_most_common."
                raise InvalidAnnotation("reasoning question without answer", item, message)
            return {"question_id": number, "image_id": image, "question": entry["reasoning_question"]}, [answer]
        raw, answers = known[1]
        if image is not None and known_image(image) != known_image(raw.get("image_id")):
            message = f"its entry is about image {image}, the question of VQA v2 about {raw.get('image_id')}."
            raise InvalidAnnotation("image of question and entry differ", item, message)
        if isinstance(raw.get("question"), str) and same_words(raw["question"]) != same_words(
            entry["reasoning_question"]
        ):
            self.count("question of other words than in VQA v2, whose are taken", item)
        return raw, answers


def image_of(entry: Mapping[str, Any], known: Known | None) -> str | None:
    """The image of a reasoning question: as VQA v2 has it where it is known."""
    return known_image(entry.get("image_id") if known is None else known[1][0].get("image_id"))


def perception_question(known: Known) -> list[Candidate]:
    """A question of VQA v2 as one that may be asked beside a reasoning question; nothing where it has no text or no answers."""
    item, (question, answers) = known
    try:
        texts = answer_texts(answers)
    except ValueError as error:
        raise InvalidAnnotation("answer is not text", item, str(error)) from None
    asked = question.get("question")
    return [candidate(asked, texts)] if texts and isinstance(asked, str) and asked.strip() else []


class Others:
    """The questions about each image that may be irrelevant to a reasoning question about it."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, list[Candidate]]]] = {}

    def add(self, image: str | None, number: str, asked: list[Candidate]) -> None:
        """Add questions about an image that come with a question."""
        if image is not None and asked:
            self._found.setdefault(image, []).append((number, asked))

    def of(self, image: str | None, number: str) -> list[Candidate]:
        """Those about an image that did not come with a reasoning question."""
        return [one for other, asked in self._found.get(image or "", []) if other != number for one in asked]
