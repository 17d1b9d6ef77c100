"""Builder for VQA-CP: reads its flat lists, or rebuilds it from VQA v2 and the question ids of each part."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, Record, question_features, row_id
from hf_guidance.data.questions.vqa_files import Pair, counted_pairs, find_vqa_files, vqa_records, vqa_row

LAYOUT = "vqacp_v2_train_questions.json and the like"
COCO = {"train": "train2014", "validation": "val2014"}


@dataclass
class VqaCpConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    question_ids: str | Mapping[str, Any] | None = None

    def pairs(self) -> dict[str, Pair]:
        """Split -> files: VQA-CP's own, or VQA v2's where question ids are given."""
        base = self.base(LAYOUT)
        if self.question_ids is not None:
            return find_vqa_files(base)
        found: dict[str, Pair] = {}
        for split in ("train", "test"):
            paths = sorted(glob.glob(os.path.join(glob.escape(base), f"vqacp*_{split}_questions.json")))
            if len(paths) > 1:
                raise ValueError(f"{paths}: several files for one split; keep one version of VQA-CP in the folder.")
            if paths:
                annotations = paths[0].replace("_questions.json", "_annotations.json")
                found[split] = (paths[0], annotations if os.path.isfile(annotations) else None)
        if not found:
            raise ValueError(
                f"data_dir: no vqacp*_train_questions.json or vqacp*_test_questions.json in {base}. To rebuild them, pass "
                "VQA v2's folder and question_ids."
            )
        return found

    def wanted(self) -> dict[str, list[Any]]:
        """Split -> question ids."""
        given = self.question_ids
        content = read_json(self.option_file("question_ids")) if isinstance(given, str) else given
        if not isinstance(content, Mapping) or not all(isinstance(ids, list | tuple) for ids in content.values()):
            raise ValueError("question_ids: allowed: {'train': [ids], 'test': [ids]}, or the path of such a JSON file.")
        return {split: list(ids) for split, ids in content.items()}

    def raw_files(self) -> tuple[list[str], list[str]]:
        paths = [path for pair in self.pairs().values() for path in pair if path]
        return [*paths, *([self.option_file("question_ids")] if isinstance(self.question_ids, str) else [])], []


class VqaCp(QuestionBuilder):
    """Questions whose answers have other priors in test than in train."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaCpConfig

    def _info(self) -> datasets.DatasetInfo:
        features = datasets.Features({**question_features(), "coco_split": datasets.Value("string")})
        return datasets.DatasetInfo(description="Questions about images, split as VQA-CP.", features=features)

    def records(self) -> Mapping[str, Iterable[Record]]:
        splits = {}
        rebuild = self.config.question_ids is not None
        pairs = counted_pairs(self, self.config.base(LAYOUT)) if rebuild else self.config.pairs()
        for split, pair in pairs.items():
            if rebuild and pair[1] is None:  # VQA-CP is made of annotated questions
                self.count("question file without annotations", pair[0])
                continue
            splits[split] = vqa_records(self, pair, answered=True)
        return self._rebuilt(splits) if rebuild else splits

    def _rebuilt(self, splits: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
        known: dict[str, list[Record]] = {}
        for split, records in splits.items():
            for item, (entry, answers) in records:
                record = ({**entry, "coco_split": COCO.get(split, split)}, answers)
                known.setdefault(row_id(entry["question_id"], "question_id", item), []).append((item, record))
        rebuilt: dict[str, list[Record]] = {}
        listed: dict[str, str] = {}  # question -> the split that lists it
        for split, ids in self.config.wanted().items():
            rebuilt[split] = []
            for place, given in enumerate(ids):
                try:
                    number = row_id(given, "question_ids", f"question_ids, {split}, number {place}")
                    if listed.get(number) == split:
                        self.count("question listed twice", f"question_ids, {split}, question {number}")
                        continue
                    rebuilt[split].append(_listed(number, known.get(number, []), split, listed))
                except InvalidAnnotation as error:
                    self.problem(error)
        return rebuilt

    def row(self, item: str, record: Any) -> dict[str, Any]:
        return vqa_row(item, record, coco_split=str(record[0].get("coco_split") or ""))


def _listed(number: str, found: list[Record], split: str, listed: dict[str, str]) -> Record:
    item = f"question {number}"
    before = listed.setdefault(number, split)
    if before != split:
        raise InvalidAnnotation(
            "question is listed for two splits", item, f"question_ids lists it in {before} and {split}."
        )
    if not found:
        message = "question_ids lists it, the annotated VQA v2 files in data_dir do not hold it."
        raise InvalidAnnotation("listed question is missing", item, message)
    if len(found) > 1:
        message = f"question_ids lists it, and data_dir holds it {len(found)} times: {[each[0] for each in found]}."
        raise InvalidAnnotation("listed question is in two splits", item, message)
    return found[0]
