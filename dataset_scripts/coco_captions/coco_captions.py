"""Builder for COCO's captions, with the masks of the categories that their words name."""

import os
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.coco_captions.files import (
    LAYOUT,
    checked_captions,
    checked_images,
    find_files,
    read_captions,
    read_objects,
)
from hf_guidance.dataset_scripts.coco_captions.splits import cut, read_lists
from hf_guidance.dataset_scripts.coco_objects.files import ImageFiles
from hf_guidance.dataset_scripts.coco_objects.outlines import rasterise

from hf_guidance.data.builder_base import InvalidAnnotation, id_text
from hf_guidance.data.captions.rows import CaptionBuilder, CaptionConfig, Record, caption_features, caption_row
from hf_guidance.data.captions.segmentations import encode_mask
from hf_guidance.data.images.image_files import files_below

_PER_IMAGE = ("evaluation", "always", "never")


@dataclass
class CocoCaptionsConfig(CaptionConfig):
    """Options of the builder; the README explains each."""

    split_file: str | None = None
    restval: str = "train"
    per_image: str = "evaluation"
    segmentations: bool = True
    image_dir: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("restval", ("train", "drop"))
        self.check_choice("per_image", _PER_IMAGE)
        if self.split_file is not None:
            self.option_file("split_file")

    def images(self) -> str:
        """The folder of the images; a ValueError where it does not exist."""
        folder = os.path.join(self.base(LAYOUT), os.path.expanduser(str(self.image_dir)))
        if not os.path.isdir(folder):
            raise ValueError(
                f"image_dir: {folder} is not a folder; pass the one of the images, absolute or in data_dir."
            )
        return folder

    def raw_files(self) -> tuple[list[str], list[str]]:
        captions, instances = find_files(self.base(LAYOUT), self.segmentations)
        lists = [] if self.split_file is None else [self.option_file("split_file")]
        images = [] if self.image_dir is None else list(files_below(self.images()))
        return [*captions.values(), *instances.values(), *lists], images


class CocoCaptions(CaptionBuilder):
    """Captions of COCO, one row per caption in training and one per image in evaluation."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = CocoCaptionsConfig

    def _info(self) -> datasets.DatasetInfo:
        self.config.base(LAYOUT)
        wanted = {"segmentations": self.config.segmentations, "image": self.config.image_dir is not None}
        features = caption_features(*(name for name, given in wanted.items() if given))
        return datasets.DatasetInfo(
            description="Captions of images with masks of categories, from COCO.", features=features
        )

    def records(self) -> dict[str, list[Record]]:
        """The captions of each split, each with all captions and the objects of its image."""
        files, instances = find_files(self.config.base(LAYOUT), self.config.segmentations)
        known: dict[str, Any] = {}
        captions: dict[str, list[dict[str, Any]]] = {}
        of_file: dict[str, list[str]] = {}
        seen: set[str] = set()
        for split, path in files.items():
            content, before = read_captions(path), set(known)
            checked_images(path, content["images"], known, self.problem)
            of_file[split] = [image for image in known if image not in before]
            for image, found in checked_captions(path, content["annotations"], known, seen, self.problem).items():
                captions.setdefault(image, []).extend(found)
        objects, sizes = read_objects(instances, captions, self.count, self.problem)
        splits = self._splits(known, of_file)
        return {
            split: records
            for split, images in splits.items()
            if (records := list(self._records(split, images, known, captions, objects, sizes)))
        }

    def _splits(self, known: dict[str, Any], of_file: dict[str, list[str]]) -> dict[str, list[str]]:
        """Split -> ids of its images: those of its captions file, or of the lists of the split file."""
        if self.config.split_file is None:
            return of_file
        path = self.config.option_file("split_file")
        wanted, twice = read_lists(path, self.config.restval)
        for name in twice:
            self.count("listed twice in the split file", name)
        ids = list(known)
        splits = {
            split: [ids[index] for index in places] for split, places in cut(list(known.values()), wanted, path).items()
        }
        named = {image for images in splits.values() for image in images}
        for image in ids:
            if image not in named:
                self.count("image in no split of the split file", image)
        return splits

    def _records(
        self,
        split: str,
        images: list[str],
        known: dict[str, Any],
        captions: dict[str, list[dict[str, Any]]],
        objects: dict[str, list[tuple[str, str, Any]]],
        sizes: dict[str, tuple[int, int]],
    ) -> Any:
        """The records of a split, those of an image after one another."""
        one = self.config.per_image == "always" or (self.config.per_image == "evaluation" and split != "train")
        for image in images:
            if image not in captions:
                self.count("image without caption", image)
                continue
            if self.config.segmentations and image not in objects:
                self.count("image without masks, kept", image)
            texts = [entry["caption"] for entry in captions[image]]
            shown = (image, known[image].get("file_name"), sizes.get(image), objects.get(image, []))
            for entry in captions[image][: 1 if one else None]:
                yield f"caption {id_text(entry['id'])}", (entry, texts, shown)

    def row(self, item: str, record: Any) -> dict[str, Any]:
        entry, texts, (image, file_name, size, objects) = record
        columns: dict[str, Any] = {}
        if self.config.segmentations:
            columns["segmentations"] = self._segmentations(image, size, objects)
        if self.config.image_dir is not None:
            if not isinstance(file_name, str):
                raise InvalidAnnotation(
                    "image without file_name", item, f"image {image} has none in the captions file."
                )
            columns["image"] = self._files().path(file_name)
        return caption_row(entry["id"], image, entry["caption"], texts, item, **columns)

    def _segmentations(
        self, image: str, size: tuple[int, int] | None, objects: list[tuple[str, str, Any]]
    ) -> list[dict[str, Any]]:
        """The mask of each category, of all its objects; kept for the other captions of the image, which come next."""
        last = getattr(self, "_last", None)
        if last is not None and last[0] == image:
            return last[1]
        masks: dict[str, np.ndarray] = {}
        for item, category, segmentation in objects:
            mask = self.read(item, lambda given, item=item: rasterise(given, size, item), segmentation)
            if mask is None:
                continue
            if not mask.any():
                self.count("outline covers no pixel, left out", item)
                continue
            masks[category] = masks[category] | mask if category in masks else mask
        made = [encode_mask(category, mask) for category, mask in sorted(masks.items())]
        self._last = (image, made)
        return made

    def _files(self) -> ImageFiles:
        if getattr(self, "_image_files", None) is None:
            self._image_files = ImageFiles(self.config.images())
        return self._image_files
