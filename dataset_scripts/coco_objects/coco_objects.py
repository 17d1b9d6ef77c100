"""Builder for COCO instance annotations: boxes, and masks from polygons and RLE."""

import glob
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from hf_guidance.schema import (
    ANY_CLASS,
    AnnotatedImageBuilder,
    AnnotatedImageConfig,
    InvalidAnnotation,
    annotated_image_features,
    check_box,
    shards,
    verify_image,
)

SPLITS = {"train": "train", "val": "validation", "test": "test"}
LAYOUT = "instances*.json (or annotations/instances*.json) and images/"
ROUNDING = 1.0  # COCO rounds boxes to hundredths and lets them end up to a pixel outside the image


def find_annotations(config: "CocoObjectsConfig") -> dict[str, str]:
    """Split -> json file: as configured, or the instances*.json of data_dir."""
    base = config.base()
    given = config.annotation_file
    if given is not None:
        files = dict(given) if isinstance(given, Mapping) else {"train": given}
        files = {split: os.path.join(base, os.path.expanduser(path)) for split, path in files.items()}
    else:
        patterns = [os.path.join(glob.escape(base), inner, "instances*.json") for inner in ("", "annotations")]
        paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
        files = {split_of(path): path for path in paths}
        if len(files) < len(paths):
            raise ValueError(f"{paths}: several files are one split; pass annotation_file={{split: file}}.")
    missing = [path for path in files.values() if not os.path.isfile(path)]
    if missing or not files:
        raise ValueError(f"annotation_file: not found: {missing or base}; allowed: a folder with {LAYOUT}, or a path.")
    return files


def split_of(path: str) -> str:
    """instances_val2014.json -> validation; a name without a split is train."""
    return next((split for key, split in SPLITS.items() if f"_{key}" in os.path.basename(path)), "train")


def find_images(config: "CocoObjectsConfig", split: str, annotation_file: str) -> str:
    """The folder of a split's images."""
    base, given = config.base(), config.image_dir
    year = os.path.splitext(os.path.basename(annotation_file))[0].removeprefix("instances").strip("_")
    names = [os.path.join("images", year), year, "images", split] if year else ["images", split]
    if given is not None:
        names = [os.path.expanduser(given.get(split, split) if isinstance(given, Mapping) else given)]
    found = [path for path in (os.path.join(base, name) for name in names) if os.path.isdir(path)]
    if not found:
        raise ValueError(f"image_dir: none of {names} is a folder in {base}; pass image_dir='...', or by split.")
    return found[0]


def read_json(path: str) -> dict[str, Any]:
    """The content of an instances file; without its three lists nothing can be read, so this is always an error."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except ValueError as error:
        raise ValueError(f"{path}: this is not well-formed JSON ({error}). Write the file again.") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{path}: {missing} missing; allowed: an instances file with {', '.join(keys)}.")
    return content


def rasterise(segmentation: Any, size: tuple[int, int], item: str) -> np.ndarray:
    """Polygons or RLE -> (height, width) booleans, exactly as pycocotools draws them."""
    width, height = size
    if isinstance(segmentation, dict):
        check_rle(segmentation, size, item)
        compressed = not isinstance(segmentation["counts"], list)
        rle = segmentation if compressed else coco.frPyObjects(segmentation, height, width)
    else:
        for polygon in segmentation:
            # pycocotools takes four numbers for a box and crashes on two
            pairs = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
            if not pairs or not all(map(math.isfinite, polygon)):
                message = f"polygon {polygon}; allowed: a list of x, y of at least three points, all finite."
                raise InvalidAnnotation("malformed polygon", item, message)
        rle = coco.merge(coco.frPyObjects(segmentation, height, width))
    return np.asarray(coco.decode(rle), dtype=bool)


def check_rle(rle: dict[str, Any], size: tuple[int, int], item: str) -> None:
    """Check that an RLE has the size of its image and runs for all of its pixels; pycocotools draws garbage else."""
    width, height = size
    if list(rle.get("size", ())) != [height, width]:
        message = f"the RLE is for (height, width) {rle.get('size')}, the image is {[height, width]}."
        raise InvalidAnnotation("size of mask and image differ", item, message)
    counts = rle.get("counts") or []
    runs = counts if isinstance(counts, list) else decompress(counts)
    if sum(runs) != width * height or min(runs) < 0:
        raise InvalidAnnotation("malformed RLE", item, f"its counts do not add up to {width * height} pixels.")


def decompress(text: str | bytes) -> list[int]:
    """Run lengths of a compressed RLE: digits of 5 bits, lowest first, from the third on relative to the last but one."""
    runs, value, shift = [], 0, 0
    for byte in text.encode() if isinstance(text, str) else text:
        digit = byte - 48
        value, shift = value | (digit & 31) << shift, shift + 5
        if not digit & 32:
            value -= (1 << shift) if digit & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def box_mask(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(height, width) booleans: every pixel the box touches."""
    mask = np.zeros(size[::-1], dtype=bool)
    mask[math.floor(box[1]) : math.ceil(box[3]), math.floor(box[0]) : math.ceil(box[2])] = True
    return mask


def paint(masks: Sequence[np.ndarray], categories: Sequence[int], size: tuple[int, int]) -> Image.Image:
    """One class mask (see hf_guidance.schema): the smaller object lies on top."""
    canvas = np.zeros(size[::-1], dtype=np.uint8)
    for index in sorted(range(len(masks)), key=lambda index: -int(masks[index].sum())):
        canvas[masks[index]] = categories[index] + 1
    return Image.fromarray(canvas)


@dataclass
class CocoObjectsConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    annotation_file: str | Mapping[str, str] | None = None
    image_dir: str | Mapping[str, str] | None = None
    names: Sequence[str] | None = None
    masks: bool = True
    crowd: str = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("crowd", ("keep", "drop"))

    def base(self) -> str:
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds {LAYOUT}.")
        return os.path.abspath(os.path.expanduser(self.data_dir))

    def raw_files(self) -> tuple[list[str], list[str]]:
        annotations = find_annotations(self)
        folders = {find_images(self, split, path) for split, path in annotations.items()}
        images = [
            os.path.join(root, name) for folder in folders for root, _, names in os.walk(folder) for name in names
        ]
        return list(annotations.values()), images


class CocoObjects(AnnotatedImageBuilder):
    """Images with COCO objects, one split per instances file."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = CocoObjectsConfig

    def _info(self) -> datasets.DatasetInfo:
        self._files = find_annotations(self.config)
        # category ids have gaps (COCO: 80 classes, ids up to 90); indices are their ranks
        known = self._categories()
        names = list(self.config.names or known.values())
        if self.config.masks and len(names) >= ANY_CLASS:
            raise ValueError(f"masks: {len(names)} classes; a mask holds at most {ANY_CLASS - 1}. Pass masks=False.")
        self._indices = {category: names.index(name) for category, name in known.items() if name in names}
        features = annotated_image_features(names, mask=self.config.masks)
        return datasets.DatasetInfo(description="Images with boxes and masks, from COCO.", features=features)

    def _categories(self) -> dict[int, str]:
        known: dict[int, str] = {}
        for path in self._files.values():
            for entry in read_json(path)["categories"]:
                name = known.setdefault(entry["id"], entry["name"])
                if name != entry["name"]:
                    raise ValueError(f"{path}: category {entry['id']} is {entry['name']!r}, and elsewhere {name!r}.")
        return dict(sorted(known.items()))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={"records": shards(self._records(path)), "folder": find_images(self.config, split, path)},
            )
            for split, path in self._files.items()
        ]

    def _records(self, path: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Each image with its annotations."""
        content = read_json(path)
        records: dict[Any, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        for index, image in enumerate(content["images"]):
            if not {"id", "file_name"} <= set(image) or image["id"] in records:
                reason, item = "image without an id of its own or a file_name", f"{path}, images[{index}]"
                self.problem(InvalidAnnotation(reason, item, f"got {image}; allowed: id and file_name, each id once."))
                continue
            records[image["id"]] = (image, [])
        for index, annotation in enumerate(content["annotations"]):
            if annotation.get("image_id") in records:
                records[annotation["image_id"]][1].append(annotation)
                continue
            item, message = f"{path}, annotations[{index}]", f"image {annotation.get('image_id')} is not in images."
            self.problem(InvalidAnnotation("box without image", item, message))
        return list(records.values())

    def _generate_examples(self, records: list[tuple[Any, ...]], folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for image, annotations in (record for shard in records for record in shard):
            try:
                yield str(image["id"]), self._row(image, annotations, os.path.join(folder, image["file_name"]))
            except InvalidAnnotation as error:
                self.problem(error)

    def _row(self, image: dict[str, Any], annotations: list[dict[str, Any]], path: str) -> dict[str, Any]:
        if not os.path.isfile(path):
            raise InvalidAnnotation("box file without image", path, "it is annotated, but not there.")
        size = self._size(image, path)
        objects, masks = [], []
        for index, annotation in enumerate(annotations):
            item = f"{path}, annotation {annotation.get('id', index)}"
            if annotation.get("iscrowd") and self.config.crowd == "drop":
                self.count("crowd object, dropped on request", item)
                continue
            try:
                entry, mask = self._object(annotation, size, item)
                objects.append(entry)
                masks.append(mask)
            except InvalidAnnotation as error:
                self.problem(error)
        categories = [entry["category"] for entry in objects]
        row = {"image": path, "image_id": str(image["id"]), "labels": sorted(set(categories)), "objects": objects}
        return {**row, "mask": paint(masks, categories, size)} if self.config.masks else row

    def _size(self, image: dict[str, Any], path: str) -> tuple[int, int]:
        actual = verify_image(path)
        written = (image.get("width") or 0, image.get("height") or 0)
        if min(written) <= 0:
            self.count("size missing or 0, read from the image", path)
        elif written != actual:
            message = f"the annotation file says {written[0]}x{written[1]}, the image is {actual[0]}x{actual[1]}."
            raise InvalidAnnotation("size of annotation and image differ", path, f"{message} Scale the annotations.")
        return actual

    def _object(
        self, annotation: dict[str, Any], size: tuple[int, int], item: str
    ) -> tuple[dict[str, Any], np.ndarray]:
        category = self._indices.get(annotation.get("category_id"))
        if category is None:
            known = self.info.features["objects"].feature["category"].names
            message = f"category {annotation.get('category_id')} is unknown; allowed: {', '.join(known)} (names)."
            raise InvalidAnnotation("unknown class", item, message)
        box = self._box(annotation, size, item)
        if not self.config.masks:
            return {"bbox": box, "category": category}, np.zeros(0, dtype=bool)
        segmentation = annotation.get("segmentation")
        mask = rasterise(segmentation, size, item) if segmentation else box_mask(box, size)
        if not mask.any():
            self.count("outline covers no pixel, box drawn instead", item)
            mask = box_mask(box, size)
        return {"bbox": box, "category": category}, mask

    def _box(self, annotation: dict[str, Any], size: tuple[int, int], item: str) -> list[float]:
        bbox = annotation.get("bbox")
        if not bbox or len(bbox) != 4:
            message = f"it has a class but bbox {bbox}; allowed: x, y, width, height."
            raise InvalidAnnotation("label without box", item, message)
        x, y, width, height = map(float, bbox)
        box = [x, y, x + width, y + height]
        limits = (*size, *size)
        if all(-ROUNDING < value < limit + ROUNDING for value, limit in zip(box, limits, strict=True)):
            clipped = [min(max(value, 0.0), float(limit)) for value, limit in zip(box, limits, strict=True)]
            if clipped != box:
                self.count("box less than a pixel outside the image, clipped", item)
            box = clipped
        check_box(box, *size, item, " COCO boxes are x, y, width, height.")
        return box
