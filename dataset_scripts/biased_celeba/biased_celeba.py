"""Builder for Biased CelebA: smiling or not, where the colour of the hair agrees with it in almost all training rows."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.biased_celeba.drawing import ALIGNED, GROUPS, draw
from hf_guidance.dataset_scripts.biased_celeba.files import Line, read_attributes, read_partition
from PIL import Image

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, InvalidAnnotation, shards
from hf_guidance.data.images.image_files import with_slashes
from hf_guidance.data.images.mask_files import read_mask, tight_box
from hf_guidance.data.images.pictures import verify_image
from hf_guidance.data.images.rows import annotated_image_features

NAMES = ("not_smiling", "smiling")
SIZES = ("aligned", "conflicting", "test_per_group", "validation_per_group")
LISTS = {"train": "train_file", "test": "test_file"}
HAIR = "hair both black and blond, or neither"
NOT_DRAWN = "row of CelebA that was not drawn, left out on request"


@dataclass
class BiasedCelebAConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    attributes_file: str = "list_attr_celeba.txt"
    partition_file: str | None = None
    train_file: str | None = None
    test_file: str | None = None
    image_dir: str = "img_align_celeba"
    mask_dir: str | None = None
    train_rows: int = 162_770
    aligned: int = 10_000
    conflicting: int = 100
    test_per_group: int = 2_000
    validation_per_group: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("train_rows", *SIZES, "seed"):
            given = getattr(self, option)
            if not isinstance(given, int) or isinstance(given, bool) or given < 0:
                raise ValueError(f"{option}: got {given!r}; allowed: a whole number, 0 or more.")
        if (self.train_file is None) != (self.test_file is None):
            missing = next(option for option in LISTS.values() if getattr(self, option) is None)
            raise ValueError(
                f"{missing}: got None; pass train_file and test_file, or neither to draw the rows by a seed."
            )
        if self.train_file is not None and self.validation_per_group:
            raise ValueError(
                f"validation_per_group: got {self.validation_per_group}; allowed: 0 with train_file and test_file, which list "
                "all rows there are."
            )

    def folder(self, option: str) -> str:
        """The folder that an option names, in data_dir unless it is absolute."""
        if self.data_dir is None:
            raise ValueError("data_dir: got None; pass the folder that holds CelebA's list files and images.")
        path = os.path.join(os.path.expanduser(self.data_dir), os.path.expanduser(str(getattr(self, option))))
        if not os.path.isdir(path):
            raise ValueError(f"{option}: {path} is not a folder; give its path, absolute or in data_dir.")
        return os.path.abspath(path)

    def list_files(self) -> list[str]:
        """Paths of the files that say which rows there are."""
        if self.train_file is not None:
            return [self.option_file(option) for option in LISTS.values()]
        return [self.option_file(option) for option in ("attributes_file", "partition_file") if getattr(self, option)]

    def raw_files(self) -> tuple[list[str], list[str]]:
        files = self.list_files()
        lists = files if self.train_file is not None else files[:1]
        used = {line.image for path in lists for line in read_attributes(path) if line.group is not None}
        folder = self.folder("image_dir")
        paths = [image_path(folder, image) for image in used]
        if self.mask_dir is not None:
            masks = self.folder("mask_dir")
            paths += [mask_path(masks, image) for image in used]
        return files, [path for path in paths if os.path.isfile(path)]


def image_path(folder: str, image: str) -> str:
    """The path of an image; the ending is .png in img_align_celeba_png, but the lists say .jpg for it too."""
    path = os.path.join(folder, with_slashes(image))
    png = mask_path(folder, image)
    return png if not os.path.isfile(path) and os.path.isfile(png) else path


def mask_path(folder: str, image: str) -> str:
    """The path of the mask of an image."""
    return f"{os.path.splitext(os.path.join(folder, with_slashes(image)))[0]}.png"


class BiasedCelebA(AnnotatedImageBuilder):
    """Smiling faces, with group = 2 * smiling + black hair."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = BiasedCelebAConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Smiling or not; in training black hair smiles and blond hair does not, in almost all of the rows.",
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
            features=annotated_image_features(NAMES, mask=self.config.mask_dir is not None, groups=GROUPS),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        self.config.folder("image_dir")
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"records": shards(records)})
            for split, records in self._records().items()
            if records
        ]

    def _records(self) -> dict[str, list[dict[str, Any]]]:
        """Split -> the records of its rows, in the order of the list files."""
        seen: set[str] = set()
        if self.config.train_file is None:
            return self._drawn(self.config.option_file("attributes_file"), seen)
        records: dict[str, list[dict[str, Any]]] = {}
        for split, option in LISTS.items():
            path = self.config.option_file(option)
            records[split] = []
            for line in read_attributes(path):
                record = self.read(self._item(path, line), lambda line, path=path: self._record(path, line, seen), line)
                if record is None:
                    continue
                if record["group"] is None:
                    message = "Black_Hair and Blond_Hair are equal; allowed: exactly one of them."
                    self.problem(InvalidAnnotation(HAIR, record["item"], message))
                    continue
                records[split].append(record)
        return records

    def _drawn(self, path: str, seen: set[str]) -> dict[str, list[dict[str, Any]]]:
        """Split -> the records drawn from the list of all attributes."""
        lines = read_attributes(path)
        training = self._is_training(path, lines)
        pools: tuple[list[dict[str, Any]], ...] = ([], [])
        for line, trained in zip(lines, training, strict=True):
            record = self.read(self._item(path, line), lambda line: self._record(path, line, seen), line)
            if record is None:
                continue
            if record["group"] is None:
                self.count(f"{HAIR}, left out by the rule", line.image)  # the bare name: there are 100,000 of them
            else:
                pools[not trained].append(record)
        each = {option: (option, getattr(self.config, option)) for option in SIZES}
        training_sizes = [each["aligned" if group in ALIGNED else "conflicting"] for group in range(len(GROUPS))]
        parts = [[each[option]] * len(GROUPS) for option in ("test_per_group", "validation_per_group")]
        groups = [[record["group"] for record in pool] for pool in pools]
        (train,) = draw(groups[0], [training_sizes], (self.config.seed, 0))
        test, validation = draw(groups[1], parts, (self.config.seed, 1))
        drawn = {"train": (pools[0], train), "validation": (pools[1], validation), "test": (pools[1], test)}
        records = {split: [pool[row] for row in rows] for split, (pool, rows) in drawn.items()}
        kept = {record["image_id"] for rows in records.values() for record in rows}
        for record in (record for pool in pools for record in pool if record["image_id"] not in kept):
            self.count(NOT_DRAWN, record["image_id"])
        return records

    def _is_training(self, path: str, lines: list[Line]) -> list[bool]:
        """Whether each line is of the official training split: by the partition file, else by its place."""
        if self.config.partition_file is None:
            for before, line in pairwise(line for line in lines if line.fault is None):
                if line.image < before.image:
                    raise ValueError(
                        f"{path}, line {line.number}: {line.image!r} comes after {before.image!r}, so that its place does not "
                        "say its split; sort the lines by image, or pass partition_file='list_eval_partition.txt'."
                    )
            return [row < self.config.train_rows for row in range(len(lines))]
        partition_path = self.config.option_file("partition_file")
        partition = read_partition(partition_path)
        missing = next((line for line in lines if line.fault is None and line.image not in partition), None)
        if missing is not None:
            raise ValueError(
                f"{partition_path}: {missing.image} of {path} is not in it; give the partition of all images."
            )
        return [partition.get(line.image) == 0 for line in lines]

    @staticmethod
    def _item(path: str, line: Line) -> str:
        return f"{path}, line {line.number} ({line.image})"

    def _record(self, path: str, line: Line, seen: set[str]) -> dict[str, Any]:
        """The record of a row; ``seen`` are the images of earlier lines, to which this one is added."""
        item = self._item(path, line)
        if line.fault is not None:
            raise InvalidAnnotation(line.fault[0], item, line.fault[1])
        if line.image in seen:
            raise InvalidAnnotation("image twice", item, "an earlier line has the same image.")
        seen.add(line.image)
        return {"image_id": line.image, "label": int(line.smiling), "group": line.group, "item": item}

    def _generate_examples(self, records: list[tuple[Any, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        folder = self.config.folder("image_dir")
        masks = None if self.config.mask_dir is None else self.config.folder("mask_dir")
        for record in (record for shard in records for record in shard):
            row = self.read(record["item"], lambda record: self._row(record, folder, masks), record)
            if row is not None:
                yield record["image_id"], row

    def _row(self, record: dict[str, Any], folder: str, masks: str | None) -> dict[str, Any]:
        image, label = image_path(folder, record["image_id"]), record["label"]
        if not os.path.isfile(image):
            raise InvalidAnnotation("line without image", record["item"], f"there is no image {image}.")
        size = verify_image(image)
        row = {
            "image": image,
            "image_id": record["image_id"],
            "labels": [label],
            "objects": [],
            "group": record["group"],
        }
        if masks is None:
            return row
        row["mask"] = None
        try:
            mask = read_mask(mask_path(masks, record["image_id"]), size, record["item"])
        except InvalidAnnotation as error:
            self.problem(error)  # with "skip" the row stays, without annotation
            return row
        row["mask"] = Image.fromarray((mask * 255).astype(np.uint8))
        row["objects"] = [{"bbox": tight_box(mask), "category": label}]
        return row
