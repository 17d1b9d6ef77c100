"""Builder for VQA-CP: reads its flat lists, or rebuilds it from VQA v2 and the question ids of each part."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from hf_guidance.data.builder_base import InvalidAnnotation, read_json
from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, question_features
from hf_guidance.data.questions.vqa_files import Pair, VqaRecords, find_vqa_files, vqa_row

COCO = {"train": "train2014", "validation": "val2014"}


@dataclass
class VqaCpConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    question_ids: str | Mapping[str, Any] | None = None

    def pairs(self) -> dict[str, Pair]:
        """Split -> files: VQA-CP's own, or VQA v2's where question ids are given."""
        base = self.base("vqacp_v2_train_questions.json and the like")
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
        content = read_json(os.path.expanduser(given)) if isinstance(given, str) else given
        if not isinstance(content, Mapping) or not all(isinstance(ids, list) for ids in content.values()):
            raise ValueError("question_ids: allowed: {'train': [ids], 'test': [ids]}, or the path of such a JSON file.")
        return dict(content)

    def raw_files(self) -> tuple[list[str], list[str]]:
        paths = [path for pair in self.pairs().values() for path in pair if path]
        return [*paths, *([os.path.expanduser(self.question_ids)] if isinstance(self.question_ids, str) else [])], []


class VqaCp(QuestionBuilder):
    """Questions whose answers have other priors in test than in train."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = VqaCpConfig

    def _info(self) -> datasets.DatasetInfo:
        features = datasets.Features({**question_features(), "coco_split": datasets.Value("string")})
        return datasets.DatasetInfo(description="Questions about images, split as VQA-CP.", features=features)

    def records(self) -> Mapping[str, Iterable[Any]]:
        splits = {}
        rebuild = self.config.question_ids is not None
        for split, pair in self.config.pairs().items():
            if rebuild and pair[1] is None:  # VQA-CP is made of annotated questions
                self.count("question file without annotations", pair[0])
                continue
            source = VqaRecords(pair)
            splits[split] = list(source)
            for problem in source.problems:
                self.problem(problem)
        return self._rebuilt(splits) if rebuild else splits

    def _rebuilt(self, splits: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        known: dict[str, list[Any]] = {}
        for split, records in splits.items():
            for entry, answers, item in records:
                record = ({**entry, "coco_split": COCO.get(split, split)}, answers, item)
                known.setdefault(str(entry["question_id"]), []).append(record)
        rebuilt: dict[str, list[Any]] = {}
        for split, ids in self.config.wanted().items():
            rebuilt[split] = []
            for number in dict.fromkeys(map(str, ids)):
                found = known.get(number, [])
                if len(found) == 1:
                    rebuilt[split].append(found[0])
                    continue
                reason = "listed question is missing"
                message = "question_ids lists it, the annotated VQA v2 files in data_dir do not hold it."
                if found:
                    reason = "listed question is in two splits"
                    message = f"question_ids lists it, and data_dir holds it {len(found)} times: {[each[2] for each in found]}."
                self.problem(InvalidAnnotation(reason, f"question {number}", message))
        return rebuilt

    def row(self, record: Any) -> dict[str, Any]:
        return vqa_row(record, coco_split=str(record[0].get("coco_split") or ""))
