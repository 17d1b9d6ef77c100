"""Builder for folders laid out like PASCAL VOC 2007, with any set of classes."""

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import (
    AnnotatedImageBuilder,
    AnnotatedImageConfig,
    InvalidAnnotation,
    read_text,
    shards,
)
from hf_guidance.data.images.preparation import PREPARATIONS, prepared_row
from hf_guidance.data.images.rows import ANY_CLASS, annotated_image_features, check_box, verify_image

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SPLITS = {"train": "train", "val": "validation", "test": "test", "trainval": "trainval"}
SEGMENTATIONS = "SegmentationClass"
VOID = 255  # pixels of VOC's segmentations that belong to no class: the rims of objects
EMPTY = "box of zero width or height"  # a reason of check_box
CORNERS = ("xmin", "ymin", "xmax", "ymax")
ONE_BASED_HINT = " Boxes that count from 0 need one_based=False."


def find_root(data_dir: str | None) -> str:
    """The folder that holds Annotations/: data_dir itself or a VOC20xx folder inside it."""
    layout = "Annotations/*.xml, JPEGImages/ and ImageSets/Main/{train,val,test}.txt"
    if data_dir is None:
        raise ValueError(f"data_dir: got None; pass the folder that holds {layout}.")
    base = os.path.abspath(os.path.expanduser(data_dir))
    parents = [folder for folder in (base, os.path.join(base, "VOCdevkit")) if os.path.isdir(folder)]
    inner = [os.path.join(folder, name) for folder in parents for name in sorted(os.listdir(folder)) if "VOC" in name]
    found = [folder for folder in [base, *inner] if os.path.isdir(os.path.join(folder, "Annotations"))]
    if not found:
        raise ValueError(f"data_dir: no Annotations folder in {base}; allowed: a folder that holds {layout}.")
    if len(found) > 1 and found[0] != base:
        raise ValueError(f"data_dir: {base} holds several data sets; pass one of {', '.join(found)}.")
    return found[0]


def files_in(folder: str, extensions: Sequence[str]) -> list[str]:
    """Names of the files in a folder with these extensions, upper or lower case; empty if there is no folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(name for name in os.listdir(folder) if name.lower().endswith(tuple(extensions)))


def parse(path: str) -> ElementTree.Element:
    """The root of an annotation file."""
    try:
        with open(path, "rb") as file:
            return ElementTree.fromstring(file.read())
    except (ElementTree.ParseError, UnicodeError, ValueError, LookupError) as error:
        raise InvalidAnnotation("malformed XML", path, f"this is not well-formed XML ({error}).") from None


def text(element: ElementTree.Element, tag: str) -> str:
    """The stripped text of a child, empty where there is none."""
    return (element.findtext(tag) or "").strip()


def number(element: ElementTree.Element, tag: str) -> float:
    """The number in a child, NaN where there is none."""
    try:
        return float(text(element, tag))
    except ValueError:
        return math.nan


def read_box(
    element: ElementTree.Element, size: tuple[int, int], one_based: bool, item: str, empty: bool = False
) -> list[float]:
    """The box of an <object>, 0-based and half-open; ``empty`` says whether it may have no width or height."""
    box = element.find("bndbox")
    if box is None:
        raise InvalidAnnotation("label without box", item, "the object has a name but no <bndbox>.")
    corners = [number(box, tag) for tag in CORNERS]
    hint = ONE_BASED_HINT if one_based else ""
    # by VOC's definition equal corners are one pixel wide, but in practice they are a click without a drag: they stay empty
    if one_based and corners[0] < corners[2] and corners[1] < corners[3]:
        corners = [corners[0] - 1, corners[1] - 1, *corners[2:]]
    try:
        check_box(corners, *size, item, hint)
    except InvalidAnnotation as error:
        if not empty or error.reason != EMPTY:
            raise
    return corners


def read_segmentation(path: str, size: tuple[int, int], classes: int) -> Image.Image:
    """A class mask (see hf_guidance.data.images.rows): VOC counts classes from 1 too, and its void pixels become 0."""
    actual = verify_image(path)
    if actual != size:
        message = f"it is {actual[0]}x{actual[1]}, the image {size[0]}x{size[1]}."
        raise InvalidAnnotation("size of segmentation and image differ", path, message)
    with Image.open(path) as image:
        mask = np.asarray(image)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        message = "allowed: one number per pixel (mode 'P' or 'L'), not colours."
        raise InvalidAnnotation("malformed segmentation", path, message)
    mask = np.where(mask == VOID, 0, mask)
    if mask.max() > classes:
        message = f"it holds {mask.max()}; allowed: 0 (nothing), 1 to {classes} (1 + class) and {VOID} (void)."
        raise InvalidAnnotation("malformed segmentation", path, message)
    return Image.fromarray(mask)


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
        self.check_choice("difficult", ("keep", "drop"))
        self.check_choice("truncated", ("keep", "drop"))
        self.check_choice("preparation", PREPARATIONS)

    def raw_files(self) -> tuple[list[str], list[str]]:
        root = find_root(self.data_dir)
        folders = {
            name: os.path.join(root, name) for name in ("Annotations", "ImageSets/Main", "JPEGImages", SEGMENTATIONS)
        }
        paths = {
            name: [os.path.join(folder, file) for file in files_in(folder, (".xml", ".txt", *IMAGE_EXTENSIONS))]
            for name, folder in folders.items()
        }
        outlines = paths[SEGMENTATIONS] if self.segmentations else []
        return paths["Annotations"] + paths["ImageSets/Main"], paths["JPEGImages"] + outlines


class PascalVoc(AnnotatedImageBuilder):
    """Images with VOC boxes, split as ImageSets/Main says."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = PascalVocConfig

    def _info(self) -> datasets.DatasetInfo:
        self._root = find_root(self.config.data_dir)
        names = self.config.names or self._names_in_files()
        if not names:
            raise ValueError(f"{self._root}: no object in any annotation file; pass names=[...] if that is intended.")
        if self.config.segmentations and len(names) >= ANY_CLASS:
            raise ValueError(f"segmentations: {len(names)} classes; a mask holds at most {ANY_CLASS - 1}.")
        features = annotated_image_features(names, mask=self.config.segmentations)
        return datasets.DatasetInfo(description="Images with boxes, read from a PASCAL VOC folder.", features=features)

    def _path(self, *parts: str) -> str:
        return os.path.join(self._root, *parts)

    def _names_in_files(self) -> list[str]:
        names = set()
        for file in files_in(self._path("Annotations"), (".xml",)):
            try:
                root = parse(self._path("Annotations", file))
            except InvalidAnnotation:
                continue  # raised or counted when its row is read
            names |= {text(element, "name") for element in root.iter("object")}
        return sorted(names - {""})

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        listed: dict[str, list[str]] = {}
        for file, split in SPLITS.items():
            path = self._path("ImageSets", "Main", f"{file}.txt")
            if os.path.isfile(path):
                ids = self._read_split(path)
                if ids:
                    listed[split] = ids
                else:
                    self.count("empty split file", path)
        if self.config.preparation != "as_is" and len(listed) > 1:
            listed.pop("trainval", None)  # the paper keeps train and val apart, and trainval holds their images again
        annotated = {os.path.splitext(name)[0] for name in files_in(self._path("Annotations"), (".xml",))}
        pictured = {os.path.splitext(name)[0] for name in files_in(self._path("JPEGImages"), IMAGE_EXTENSIONS)}
        listed = listed or {"train": sorted(annotated | pictured)}
        used = {image_id for ids in listed.values() for image_id in ids}
        for image_id in sorted((annotated | pictured) - used):
            self.count("in no split file", image_id)
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"id_shards": shards(ids)}) for split, ids in listed.items()
        ]

    def _read_split(self, path: str) -> list[str]:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        ids: dict[str, None] = {}
        for line in lines:
            stem, extension = os.path.splitext(line)
            image_id = stem if extension.lower() in IMAGE_EXTENSIONS else line
            if image_id in ids:
                self.count("listed twice in a split file", f"{image_id} in {path}")
            ids[image_id] = None
        return list(ids)

    def _generate_examples(self, id_shards: list[tuple[str, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        images: dict[str, list[str]] = {}
        for name in files_in(self._path("JPEGImages"), IMAGE_EXTENSIONS):
            images.setdefault(os.path.splitext(name)[0], []).append(name)
        for image_id in (image_id for shard in id_shards for image_id in shard):
            try:
                yield image_id, self._row(image_id, images)
            except InvalidAnnotation as error:
                self.problem(error)

    def _row(self, image_id: str, images: dict[str, list[str]]) -> dict[str, Any]:
        path = self._path("Annotations", f"{image_id}.xml")
        if not os.path.isfile(path):
            message = f"a split file or an image names it, but there is no annotation file {path}."
            raise InvalidAnnotation("label without box", image_id, message)
        root = parse(path)
        image = self._image(image_id, text(root, "filename"), images)
        size = self._size(root, image, path)
        objects = list(self._objects(root, size, path))
        labels = sorted({entry["category"] for entry in objects})
        row = {"image": image, "image_id": image_id, "labels": labels, "objects": objects}
        if self.config.segmentations:
            row["mask"] = self._segmentation(image_id, size)
        if self.config.preparation == "as_is":
            return row
        # the released code resizes the numbers of the file, which count from 1, as if they counted from 0
        return prepared_row(row, size, self.count, offset=1 if self.config.one_based else 0)

    def _segmentation(self, image_id: str, size: tuple[int, int]) -> Image.Image | None:
        """The class mask of an image, or None: most images of VOC have none."""
        path = self._path(SEGMENTATIONS, f"{image_id}.png")
        try:
            classes = len(self.info.features["objects"].feature["category"].names)
            return read_segmentation(path, size, classes) if os.path.isfile(path) else None
        except InvalidAnnotation as error:
            self.problem(error)
            return None

    def _image(self, image_id: str, filename: str, images: dict[str, list[str]]) -> str:
        """The image file of an id; the XML's filename is used only where the id does not decide."""
        stem = os.path.splitext(os.path.basename(filename.replace("\\", "/")))[0]
        found = images.get(image_id) or images.get(stem) or images.get(filename) or []
        if len(found) > 1:
            found = [name for name in found if name == filename] or found
        if len(found) == 1:
            return self._path("JPEGImages", found[0])
        reason = "several images of one name" if found else "box file without image"
        message = f"JPEGImages holds {found or 'no image'} for it; allowed: one, {' or '.join(IMAGE_EXTENSIONS)}."
        raise InvalidAnnotation(reason, self._path("Annotations", f"{image_id}.xml"), message)

    def _size(self, root: ElementTree.Element, image: str, path: str) -> tuple[int, int]:
        actual = verify_image(image)
        element = root.find("size")
        written = (math.nan, math.nan) if element is None else (number(element, "width"), number(element, "height"))
        if not all(value > 0 for value in written):
            self.count("size missing or 0, read from the image", path)
        elif written != actual:
            message = f"it says the image is {written[0]:g}x{written[1]:g}, but {image} is {actual[0]}x{actual[1]}."
            raise InvalidAnnotation("size of annotation and image differ", path, f"{message} Scale the boxes.")
        return actual

    def _objects(self, root: ElementTree.Element, size: tuple[int, int], path: str) -> Iterator[dict[str, Any]]:
        names = self.info.features["objects"].feature["category"].names
        for index, element in enumerate(root.findall("object")):
            item = f"{path}, object {index}"
            dropped = [flag for flag in ("difficult", "truncated") if self._drops(element, flag)]
            if dropped:
                self.count(f"{dropped[0]} object, dropped on request", item)
                continue
            try:
                name = text(element, "name")
                if name not in names:
                    message = f"class {name!r} is unknown; allowed: {', '.join(names)} (option names)."
                    raise InvalidAnnotation("unknown class", item, message)
                prepared = self.config.preparation != "as_is"  # the released code keeps the class of an empty box
                box = read_box(element, size, self.config.one_based, item, empty=prepared)
                yield {"bbox": box, "category": names.index(name)}
            except InvalidAnnotation as error:
                self.problem(error)

    def _drops(self, element: ElementTree.Element, flag: str) -> bool:
        return getattr(self.config, flag) == "drop" and number(element, flag) == 1
