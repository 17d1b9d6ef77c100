"""Builder for folders laid out like PASCAL VOC 2007, with any set of classes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import datasets
import numpy as np
from hf_guidance.dataset_scripts.pascal_voc.annotations import corners, flagged, number, parse, text
from hf_guidance.dataset_scripts.pascal_voc.files import VocFiles, find_root, listed_id, stem_of
from PIL import Image

from hf_guidance.data.builder_base import (
    AnnotatedImageBuilder,
    AnnotatedImageConfig,
    InvalidAnnotation,
    read_text,
    shards,
)
from hf_guidance.data.images.annotated_size import EMPTY, checked_size
from hf_guidance.data.images.box_checks import check_boxes, clipped_box
from hf_guidance.data.images.pictures import class_numbers, open_picture
from hf_guidance.data.images.preparation import PREPARATIONS, prepared_row
from hf_guidance.data.images.rows import ANY_CLASS, annotated_image_features

VOID = 255  # pixels of VOC's segmentations that belong to no class: the rims of objects
FROM_ZERO = "box begins at 0 in a file that counts from 1, clipped (one_based=False?)"
ONE_BASED_HINT = " Boxes that count from 0 need one_based=False."
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def read_box(
    written: Sequence[float], size: tuple[int, int], one_based: bool, item: str, empty: bool = False
) -> tuple[list[float], str]:
    """A box as it is written -> 0-based and half-open, inside the image, and the reason to count it, if it was cut.

    ``empty`` says whether it may have no width or height.
    """
    box = list(written)
    # by VOC's definition equal corners are one pixel wide, but in practice they are a click without a drag: they stay empty
    if one_based and box[0] < box[2] and box[1] < box[3]:
        box = [box[0] - 1, box[1] - 1, *box[2:]]
    try:
        clipped, cut = clipped_box(box, size, item, ONE_BASED_HINT if one_based else "")
    except InvalidAnnotation as error:
        if not empty or error.reason != EMPTY:
            raise
        return box, ""
    return clipped, FROM_ZERO if cut and one_based and 0 <= min(written[:2]) < 1 else cut


def read_segmentation(path: str, size: tuple[int, int], names: Sequence[str]) -> tuple[Image.Image, set[str]]:
    """A class mask (see hf_guidance.data.images.rows), and its classes: VOC counts from 1 too, and void pixels become 0."""
    picture = open_picture(path)
    if picture.size != size:
        message = f"it is {picture.width}x{picture.height}, the image {size[0]}x{size[1]}."
        raise InvalidAnnotation("size of segmentation and image differ", path, message)
    mask = class_numbers(picture, path) if len(picture.getbands()) == 1 else np.zeros(1)
    if mask.dtype.kind not in "iu" or mask.min() < 0:
        message = f"it has mode {picture.mode!r}; allowed: one whole number per pixel (mode 'P' or 'L'), not colours."
        raise InvalidAnnotation("malformed segmentation", path, message)
    mask = np.where(mask == VOID, 0, mask)
    if mask.max() > len(names):
        message = f"it holds {mask.max()}; allowed: 0 (nothing), 1 to {len(names)} (1 + class) and {VOID} (void)."
        raise InvalidAnnotation("malformed segmentation", path, message)
    return Image.fromarray(mask.astype(np.uint8)), {names[number - 1] for number in np.unique(mask) if number}


@dataclass
class PascalVocConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    names: Sequence[str] | None = None
    difficult: str = "keep"
    truncated: str = "keep"
    one_based: bool = True
    preparation: str = "as_is"
    segmentations: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_names("names")
        self.check_choice("difficult", ("keep", "drop"))
        self.check_choice("truncated", ("keep", "drop"))
        self.check_choice("preparation", PREPARATIONS)

    def raw_files(self) -> tuple[list[str], list[str]]:
        files = VocFiles(find_root(self.data_dir))
        annotations = [files.annotations.path(name) for name in files.annotations.names]
        indices = [files.images, files.outlines] if self.segmentations else [files.images]
        return [*annotations, *files.lists()[0].values()], [
            index.path(name) for index in indices for name in index.names
        ]


class PascalVoc(AnnotatedImageBuilder):
    """Images with VOC boxes, split as ImageSets/Main says."""

    VERSION = datasets.Version("1.1.0")  # 1.0.0 lost the labels of skipped boxes
    BUILDER_CONFIG_CLASS = PascalVocConfig

    def _info(self) -> datasets.DatasetInfo:
        self._files = VocFiles(find_root(self.config.data_dir))
        names = self.config.names or self._names_in_files()
        if not names:
            raise ValueError(
                f"{self._files.root}: no object in any annotation file; pass names=[...] if that is intended."
            )
        if self.config.segmentations and len(names) >= ANY_CLASS:
            raise ValueError(f"segmentations: {len(names)} classes; a mask holds at most {ANY_CLASS - 1}.")
        features = annotated_image_features(names, mask=self.config.segmentations)
        return datasets.DatasetInfo(description="Images with boxes, read from a PASCAL VOC folder.", features=features)

    def _names_in_files(self) -> list[str]:
        names = set()
        for file in self._files.annotations.names:
            try:
                root = parse(self._files.annotations.path(file))
            except InvalidAnnotation:
                continue  # raised or counted when its row is read
            names |= {text(element, "name") for element in root.findall("object")}
        return sorted(names - {""})

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        listed: dict[str, list[str]] = {}
        lists, others = self._files.lists()
        for path in others:
            self.count("list whose name says no split, not read", path)
        for split, path in lists.items():
            ids = self._read_split(path)
            if ids:
                listed[split] = ids
            else:
                self.count("empty split file", path)
        if self.config.preparation != "as_is" and len(listed) > 1:
            listed.pop("trainval", None)  # the paper keeps train and val apart, and trainval holds their images again
        known = self._files.ids()
        listed = listed or {"train": known}
        used = {image_id for ids in listed.values() for image_id in ids}
        # an id may be listed without its folder
        used |= {stem_of(name) for image_id in used for name in self._files.annotations.find(image_id)}
        for image_id in known:
            if image_id not in used:
                self.count("in no split file", image_id)
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"id_shards": shards(ids)}) for split, ids in listed.items()
        ]

    def _read_split(self, path: str) -> list[str]:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        ids: dict[str, None] = {}
        for line in lines:
            image_id = listed_id(line)
            if image_id in ids:
                self.count("listed twice in a split file", f"{image_id} in {path}")
            ids[image_id] = None
        return list(ids)

    def _generate_examples(self, id_shards: list[tuple[str, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for image_id in (image_id for shard in id_shards for image_id in shard):
            row = self.read(image_id, self._row, image_id)
            if row is not None:
                yield image_id, row

    def _row(self, image_id: str) -> dict[str, Any]:
        annotation = self._files.annotation(image_id)
        path = self._files.annotations.path(annotation)
        root = parse(path)
        image = self._files.image(annotation, text(root, "filename"))
        size = self._size(root, image, path)
        labels, objects = self._objects(root, size, image, path)
        row = {"image": image, "image_id": image_id, "labels": labels, "objects": objects}
        if self.config.segmentations:
            present = {text(element, "name") for element in root.findall("object")}
            row["mask"] = self._segmentation(self._files.outline(annotation), size, present)
        if self.config.preparation == "as_is":
            return row
        # the released code resizes the numbers of the file, which count from 1, as if they counted from 0
        return prepared_row(row, size, self.count, offset=1 if self.config.one_based else 0)

    def _segmentation(self, path: str | None, size: tuple[int, int], present: set[str]) -> Image.Image | None:
        """The class mask of an image, or None: most images of VOC have none."""
        if path is None:
            return None
        names = self._names()
        try:
            mask, drawn = read_segmentation(path, size, names)
            if drawn <= present:
                return mask
            # Only of VOC's own classes it is known that masks count them in this order.
            reason = "segmentation of a class that no object has"
            if tuple(names) != VOC_CLASSES:
                message = f"by its numbers it shows {sorted(drawn)}, the objects are {sorted(present)}; "
                message += "pass names in the mask's order."
                raise InvalidAnnotation(reason, path, message)
            self.count(reason, path)
            return mask
        except InvalidAnnotation as error:
            self.problem(error)
            return None

    def _names(self) -> list[str]:
        return list(self.info.features["objects"].feature["category"].names)

    def _size(self, root: Element, image: str, path: str) -> tuple[int, int]:
        element = root.find("size")
        written = (math.nan, math.nan) if element is None else (number(element, "width"), number(element, "height"))
        return checked_size(image, written, path, self.count)

    def _objects(
        self, root: Element, size: tuple[int, int], image: str, path: str
    ) -> tuple[list[int], list[dict[str, Any]]]:
        """The classes of an image, also those whose box cannot be used, and its boxes."""
        names = self._names()
        labels: set[int] = set()
        found: list[tuple[str, int, list[float]]] = []
        for index, element in enumerate(root.findall("object")):
            item = f"{path}, object {index}"
            try:
                dropped = [flag for flag in ("difficult", "truncated") if self._drops(element, flag, item)]
                if dropped:
                    self.count(f"{dropped[0]} object, dropped on request", item)
                    continue
                name = text(element, "name")
                if name not in names:
                    message = f"class {name!r} is unknown; allowed: {', '.join(names)} (option names)."
                    raise InvalidAnnotation("unknown class", item, message)
                labels.add(names.index(name))
                found.append((item, names.index(name), corners(element, item)))
            except InvalidAnnotation as error:
                self.problem(error)
        check_boxes([box for _, _, box in found], size, path, image)
        return sorted(labels), list(self._boxes(found, size))

    def _boxes(self, found: list[tuple[str, int, list[float]]], size: tuple[int, int]) -> Iterator[dict[str, Any]]:
        prepared = self.config.preparation != "as_is"  # the released code keeps the class of an empty box
        for item, category, written in found:
            try:
                box, cut = read_box(written, size, self.config.one_based, item, empty=prepared)
            except InvalidAnnotation as error:
                self.problem(error)
                continue
            if cut:
                self.count(cut, item)
            yield {"bbox": box, "category": category}

    def _drops(self, element: Element, flag: str, item: str) -> bool:
        return getattr(self.config, flag) == "drop" and flagged(element, flag, item)
