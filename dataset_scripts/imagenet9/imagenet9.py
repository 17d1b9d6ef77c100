"""Builder for ImageNet-9 of the backgrounds challenge: nine classes of objects before backgrounds of several kinds."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, InvalidAnnotation, shards
from hf_guidance.data.images.image_files import IMAGE_EXTENSIONS, FileIndex
from hf_guidance.data.images.mask_files import tight_box
from hf_guidance.data.images.pictures import open_picture, rgb, verify_image
from hf_guidance.data.images.rows import annotated_image_features

NAMES = ("dog", "bird", "vehicle", "reptile", "carnivore", "insect", "instrument", "primate", "fish")
VARIANTS = ("original", "mixed_same", "mixed_rand", "only_fg")
SPLITS = {"train": "train", "test": "val"}  # the challenge tests on what its folders call val


@dataclass
class ImageNet9Config(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    variant: str = "original"
    mask_dir: str | None = None
    mask_above: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("variant", VARIANTS)
        if not isinstance(self.mask_above, int) or isinstance(self.mask_above, bool) or not 0 <= self.mask_above < 255:
            raise ValueError(f"mask_above: got {self.mask_above!r}; allowed: a whole number from 0 to 254.")

    def path(self, *parts: str) -> str:
        """A path in data_dir, unless it is absolute."""
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds the folders {', '.join(VARIANTS)}.")
        return os.path.join(os.path.abspath(os.path.expanduser(self.data_dir)), *parts)

    def split_folders(self) -> dict[str, str]:
        """Split -> the folder of its images, for those that there are."""
        folders = {split: self.path(self.variant, folder) for split, folder in SPLITS.items()}
        found = {split: folder for split, folder in folders.items() if os.path.isdir(folder)}
        if not found:
            raise ValueError(
                f"data_dir: neither {' nor '.join(folders.values())} is a folder; pass the folder of the backgrounds challenge "
                f"that holds {self.variant}/, as it is unpacked."
            )
        return found

    def mask_folder(self) -> str | None:
        """The folder of the masks; None without them."""
        if self.mask_dir is None:
            return None
        folder = self.path(os.path.expanduser(self.mask_dir))
        if not os.path.isdir(folder):
            raise ValueError(
                f"mask_dir: {folder} is not a folder; pass the folder of only_fg, or of masks laid out like it."
            )
        return folder

    def mask_path(self, split: str, name: str) -> str:
        """The mask of an image: the file of the same name in the same folder of the masks; it may be a .png."""
        path = os.path.join(str(self.mask_folder()), SPLITS[split], *name.split("/"))
        png = f"{os.path.splitext(path)[0]}.png"
        return png if os.path.isfile(png) and not os.path.isfile(path) else path

    def raw_files(self) -> tuple[list[str], list[str]]:
        images = []
        for split, folder in self.split_folders().items():
            index = FileIndex(folder)
            images += [index.path(name) for name in index.names]
            if self.mask_folder() is not None:
                images += filter(os.path.isfile, (self.mask_path(split, name) for name in index.names))
        return [], images


def class_of(name: str, item: str) -> int:
    """The class of a file by its folder, "00_dog" to "08_fish": the number counts, and the name must agree with it."""
    folder, _, rest = name.partition("/")
    if not rest:
        message = "it lies beside the folders of the classes; move it into one of them, or away."
        raise InvalidAnnotation("file outside of the folders of classes", item, message)
    found = re.fullmatch(r"0*(\d+)_(.+)", folder)
    index = int(found[1]) if found else len(NAMES)
    if found is None or index >= len(NAMES) or not found[2].lower().endswith(NAMES[index]):
        allowed = ", ".join(f"{number:02d}_{each}" for number, each in enumerate(NAMES))
        message = f"its folder is {folder!r}; allowed: {allowed} (02_wheeled vehicle and 06_musical instrument too)."
        raise InvalidAnnotation("unknown folder of a class", item, message)
    return index


class ImageNet9(AnnotatedImageBuilder):
    """Images of one variant, whose name is their group."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ImageNet9Config

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(
            description="Nine classes of objects of ImageNet before their own, other or no backgrounds.",
            homepage="https://github.com/MadryLab/backgrounds_challenge",
            features=annotated_image_features(NAMES, mask=self.config.mask_dir is not None, groups=VARIANTS),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"records": shards(self._records(split, folder))})
            for split, folder in self.config.split_folders().items()
        ]

    def _records(self, split: str, folder: str) -> list[dict[str, Any]]:
        """The records of the rows of a split, by class and name."""
        index = FileIndex(folder)
        records = []
        for name in index.names:
            record = self.read(index.path(name), lambda name: self._record(split, index, name), name)
            if record is not None:
                records.append(record)
        for label in sorted(set(range(len(NAMES))) - {record["label"] for record in records}):
            message = f"there is no image of class {label:02d}_{NAMES[label]}; unpack the whole folder."
            self.problem(InvalidAnnotation("class without an image", f"{folder}, {NAMES[label]}", message))
        return records

    def _record(self, split: str, index: FileIndex, name: str) -> dict[str, Any]:
        path = index.path(name)
        if os.path.splitext(name)[1].lower() not in IMAGE_EXTENSIONS:
            message = f"its name ends like none of an image ({', '.join(IMAGE_EXTENSIONS)}); move it away."
            raise InvalidAnnotation("file that is no image by its name", path, message)
        record = {"image_id": f"{self.config.variant}/{name}", "image": path, "label": class_of(name, path)}
        return record if self.config.mask_dir is None else {**record, "mask": self.config.mask_path(split, name)}

    def _generate_examples(self, records: list[tuple[Any, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for record in (record for shard in records for record in shard):
            row = self.read(record["image"], self._row, record)
            if row is not None:
                yield record["image_id"], row

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        size, label = verify_image(record["image"]), record["label"]
        row = {
            "image": record["image"], "image_id": record["image_id"], "labels": [label], "objects": [],
            "group": VARIANTS.index(self.config.variant),
        }  # fmt: skip
        if "mask" not in record:
            return row
        row["mask"] = None
        try:
            mask = self._foreground(record["mask"], size, record["image"])
        except InvalidAnnotation as error:
            self.problem(error)  # with "skip" the row stays, without annotation
            return row
        row["mask"] = Image.fromarray((mask * 255).astype(np.uint8))
        row["objects"] = [{"bbox": tight_box(mask), "category": label}]
        return row

    def _foreground(self, path: str, size: tuple[int, int], item: str) -> np.ndarray:
        """(height, width) booleans: where a picture of the object alone is not black."""
        if not os.path.isfile(path):
            raise InvalidAnnotation("label without mask", item, f"there is no mask {path}.")
        pixels = np.asarray(rgb(open_picture(path), path))
        if pixels.shape[1::-1] != size:
            message = f"mask {path} is {pixels.shape[1::-1]}, the image {size} (width, height)."
            raise InvalidAnnotation("size of mask and image differ", item, message)
        mask = pixels.max(-1) > self.config.mask_above
        if not mask.any():
            raise InvalidAnnotation("empty mask", item, f"mask {path} holds no pixel above {self.config.mask_above}.")
        return np.asarray(mask)
