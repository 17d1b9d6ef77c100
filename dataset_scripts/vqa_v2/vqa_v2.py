"""Builder for VQA v2's official question and annotation files, and files in their layout."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_guidance.data.questions.published import published_with_answers
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, Record, question_features
from hf_guidance.data.questions.vqa_files import LAYOUT, counted_pairs, find_vqa_files, vqa_records, vqa_row


@dataclass
class VqaV2Config(QuestionConfig):
    """Options of the builder; the README explains each."""

    def raw_files(self) -> tuple[list[str], list[str]]:
        pairs = find_vqa_files(self.base(LAYOUT)).values()
        return [path for pair in pairs for path in pair if path], []


class VqaV2(QuestionBuilder):
    """Questions with ten answers each, one split per pair of files."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaV2Config

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description="Questions about images, from VQA v2.", features=question_features())

    def records(self) -> Mapping[str, Iterable[Record]]:
        pairs = counted_pairs(self, self.config.base(LAYOUT))
        return {split: vqa_records(self, pair, published_with_answers(split)) for split, pair in pairs.items()}

    def row(self, item: str, record: Any) -> dict[str, Any]:
        return vqa_row(item, record)
