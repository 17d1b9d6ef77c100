"""Builder for COCO instance annotations: boxes, and masks from polygons and RLE."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.coco_objects.entries import check_annotation, check_image, id_order, is_id
from hf_guidance.dataset_scripts.coco_objects.files import LAYOUT, cut, find_annotations, find_images, read_json
from hf_guidance.dataset_scripts.coco_objects.outlines import box_mask, paint, rasterise

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, InvalidAnnotation, shards
from hf_guidance.data.images.preparation import PREPARATIONS, prepared_row
from hf_guidance.data.images.rows import ANY_CLASS, annotated_image_features, check_box, verify_image

EMPTY = "box of zero width or height"  # a reason of check_box
ROUNDING = 1.0  # COCO rounds boxes to hundredths and lets them end up to a pixel outside the image

Record = tuple[dict[str, Any], list[dict[str, Any]]]  # an image and its annotations


@dataclass
class CocoObjectsConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    annotation_file: str | Mapping[str, str] | None = None
    image_dir: str | Mapping[str, str] | None = None
    names: Sequence[str] | None = None
    masks: bool | None = None
    crowd: str = "keep"
    preparation: str = "as_is"
    split_file: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("crowd", ("keep", "drop"))
        self.check_choice("preparation", PREPARATIONS)
        if self.split_file is not None and not os.path.isfile(self.split_path()):
            raise ValueError(f"split_file: {self.split_path()} is not a file; give its path, absolute or in data_dir.")

    def base(self) -> str:
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds {LAYOUT}.")
        return os.path.abspath(os.path.expanduser(self.data_dir))

    def split_path(self) -> str:
        return os.path.join(self.base(), os.path.expanduser(self.split_file or ""))

    def with_masks(self) -> bool:
        return self.preparation == "as_is" if self.masks is None else self.masks

    def raw_files(self) -> tuple[list[str], list[str]]:
        annotations = find_annotations(self)
        folders = {find_images(self, split, path) for split, path in annotations.items()}
        images = [
            os.path.join(root, name) for folder in folders for root, _, names in os.walk(folder) for name in names
        ]
        lists = [] if self.split_file is None else [self.split_path()]
        return [*annotations.values(), *lists], images


class CocoObjects(AnnotatedImageBuilder):
    """Images with COCO objects, one split per instances file.

    Rows are in the order of the file. With ``preparation="model_guidance"`` they are in the order of the images' ids, as the
    released code of arXiv 2303.11932 sorts them, so that a share of annotated rows is drawn from the same order.
    """

    VERSION = datasets.Version("1.1.0")  # 1.0.0 kept the order of the file with every preparation
    BUILDER_CONFIG_CLASS = CocoObjectsConfig

    def _info(self) -> datasets.DatasetInfo:
        self._files = find_annotations(self.config)
        # category ids have gaps (COCO: 80 classes, ids up to 90); indices are their ranks
        known = self._categories()
        names = list(self.config.names or known.values())
        if self.config.with_masks() and len(names) >= ANY_CLASS:
            raise ValueError(f"masks: {len(names)} classes; a mask holds at most {ANY_CLASS - 1}. Pass masks=False.")
        self._indices = {category: names.index(name) for category, name in known.items() if name in names}
        features = annotated_image_features(names, mask=self.config.with_masks())
        return datasets.DatasetInfo(description="Images with boxes and masks, from COCO.", features=features)

    def _categories(self) -> dict[int, str]:
        known: dict[int, str] = {}
        for path in self._files.values():
            for entry in read_json(path)["categories"]:
                name = known.setdefault(entry["id"], entry["name"])
                if name != entry["name"]:
                    raise ValueError(f"{path}: category {entry['id']} is {entry['name']!r}, and elsewhere {name!r}.")
        return dict(sorted(known.items(), key=lambda entry: id_order(entry[0])))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if self.config.split_file is not None and "train" not in self._files:
            raise ValueError(f"split_file: it cuts the split train, and there is only {', '.join(self._files)}.")
        generators = []
        for split, path in self._files.items():
            folder = find_images(self.config, split, path)
            for name, records in self._parts(split, self._records(path)).items():
                options = {"records": shards(records), "folder": folder}
                generators.append(datasets.SplitGenerator(name=name, gen_kwargs=options))
        return generators

    def _parts(self, split: str, records: list[Any]) -> dict[str, list[Any]]:
        """The records of a file by split: one split, or for train those of the split file."""
        if self.config.split_file is None or split != "train":
            return {split: records}
        images = [image for image, _ in records]
        parts = cut(images, self.config.split_path())
        twice = sorted((set(parts) & set(self._files)) - {"train"})
        if twice:
            raise ValueError(
                f"split_file: {', '.join(twice)} has an annotation file of its own; rename one of the two."
            )
        named = {index for indices in parts.values() for index in indices}
        for index, image in enumerate(images):
            if index not in named:
                self.count("in no split of the split file", image["file_name"])
        return {name: [records[index] for index in indices] for name, indices in parts.items()}

    def _records(self, path: str) -> list[Record]:
        """Each image with its annotations."""
        content = read_json(path)
        records: list[Record] = []
        known: dict[Any, Record] = {}
        for index, image in enumerate(content["images"]):
            record: Record = (image, [])
            try:
                check_image(image, known, f"{path}, images[{index}]")
                records.append(record)
            except InvalidAnnotation as error:
                self.problem(error)
            if isinstance(image, dict) and is_id(image.get("id")):
                # an image that is left out is known too, so that its objects are left out with it
                known.setdefault(image["id"], record)
        for index, annotation in enumerate(content["annotations"]):
            try:
                check_annotation(annotation, known, f"{path}, annotations[{index}]")
                known[annotation["image_id"]][1].append(annotation)
            except InvalidAnnotation as error:
                self.problem(error)
        if self.config.preparation != "as_is":
            records.sort(key=lambda record: id_order(record[0]["id"]))
        return records

    def _generate_examples(self, records: list[tuple[Any, ...]], folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for image, annotations in (record for shard in records for record in shard):
            try:
                yield str(image["id"]), self._row(image, annotations, os.path.join(folder, image["file_name"]))
            except InvalidAnnotation as error:
                self.problem(error)

    def _row(self, image: dict[str, Any], annotations: list[dict[str, Any]], path: str) -> dict[str, Any]:
        if not os.path.isfile(path):
            raise InvalidAnnotation("box file without image", path, "it is annotated, but the file does not exist.")
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
        if self.config.with_masks():
            row["mask"] = paint(masks, categories, size)
        return row if self.config.preparation == "as_is" else prepared_row(row, size, self.count)

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
        if not self.config.with_masks():
            return {"bbox": box, "category": category}, np.zeros(0, dtype=bool)
        segmentation = annotation.get("segmentation")
        whole = box_mask(box, size)
        mask = rasterise(segmentation, size, item) if segmentation else whole
        if whole.any() and not mask.any():
            self.count("outline covers no pixel, box drawn instead", item)
            mask = whole
        return {"bbox": box, "category": category}, mask

    def _box(self, annotation: dict[str, Any], size: tuple[int, int], item: str) -> list[float]:
        bbox = annotation.get("bbox")
        if not bbox or len(bbox) != 4:
            message = f"it has a class but bbox {bbox}; allowed: x, y, width, height."
            raise InvalidAnnotation("label without box", item, message)
        x, y, width, height = map(float, bbox)
        box = [x, y, x + width, y + height]
        limits = (*size, *size)
        near = all(-ROUNDING < value < limit + ROUNDING for value, limit in zip(box, limits, strict=True))
        if near and min(width, height) >= 0:  # clipping must not make a reversed box an empty one
            clipped = [min(max(value, 0.0), float(limit)) for value, limit in zip(box, limits, strict=True)]
            if clipped != box:
                self.count("box less than a pixel outside the image, clipped", item)
            box = clipped
        try:
            check_box(box, *size, item, " COCO boxes are x, y, width, height.")
        except InvalidAnnotation as error:
            # COCO 2014 has a few such boxes: the released code keeps their class, and no pixel is inside
            if self.config.preparation == "as_is" or error.reason != EMPTY:
                raise
        return box
