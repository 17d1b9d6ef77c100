"""Builder for COCO instance annotations: boxes, and masks from polygons and RLE."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.coco_objects.entries import (
    LEFT_OUT,
    check_annotation,
    check_image,
    class_only,
    corners,
    id_order,
    is_id,
)
from hf_guidance.dataset_scripts.coco_objects.files import (
    LAYOUT,
    ImageFiles,
    cut,
    find_annotations,
    find_images,
    read_instances,
)
from hf_guidance.dataset_scripts.coco_objects.outlines import paint, rasterise

from hf_guidance.data.builder_base import (
    AnnotatedImageBuilder,
    AnnotatedImageConfig,
    InvalidAnnotation,
    id_text,
    shards,
)
from hf_guidance.data.images.annotated_size import EMPTY, box_mask, checked_size
from hf_guidance.data.images.box_checks import check_boxes, clipped_box
from hf_guidance.data.images.image_files import files_below
from hf_guidance.data.images.preparation import PREPARATIONS, prepared_row
from hf_guidance.data.images.rows import ANY_CLASS, annotated_image_features

FLAT = "outline of zero width or height, no box, its class kept"
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
        self.check_names("names")
        if self.split_file is not None:
            self.option_file("split_file")

    def base(self) -> str:
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds {LAYOUT}.")
        return os.path.abspath(os.path.expanduser(self.data_dir))

    def with_masks(self) -> bool:
        return self.preparation == "as_is" if self.masks is None else self.masks

    def raw_files(self) -> tuple[list[str], list[str]]:
        annotations = find_annotations(self)
        folders = {find_images(self, split, path) for split, path in annotations.items()}
        images = [path for folder in folders for path in files_below(folder)]
        lists = [] if self.split_file is None else [self.option_file("split_file")]
        return [*annotations.values(), *lists], images


class CocoObjects(AnnotatedImageBuilder):
    """Images with COCO objects, one split per instances file.

    Rows are in the order of the file. With ``preparation="model_guidance"`` they are in the order of the images' ids, as the
    released code of arXiv 2303.11932 sorts them, so that a share of annotated rows is drawn from the same order.
    """

    VERSION = datasets.Version("1.2.0")  # since 1.1.0 in the order of ids, since 1.2.0 labels outlive skipped boxes
    BUILDER_CONFIG_CLASS = CocoObjectsConfig

    def _info(self) -> datasets.DatasetInfo:
        self._files = find_annotations(self.config)
        # category ids have gaps (COCO: 80 classes, ids up to 90); indices are their ranks
        known = self._categories()
        names = list(self.config.names or known.values())
        if self.config.with_masks() and len(names) >= ANY_CLASS:
            raise ValueError(f"masks: {len(names)} classes; a mask holds at most {ANY_CLASS - 1}. Pass masks=False.")
        self._indices = {id_text(category): names.index(name) for category, name in known.items() if name in names}
        features = annotated_image_features(names, mask=self.config.with_masks())
        return datasets.DatasetInfo(description="Images with boxes and masks, from COCO.", features=features)

    def _categories(self) -> dict[Any, str]:
        known: dict[str, tuple[Any, str]] = {}
        for path in self._files.values():
            for entry in read_instances(path)["categories"]:
                _, name = known.setdefault(id_text(entry["id"]), (entry["id"], entry["name"]))
                if name != entry["name"]:
                    raise ValueError(f"{path}: category {entry['id']} is {entry['name']!r}, and elsewhere {name!r}.")
        return dict(sorted(known.values(), key=lambda entry: id_order(entry[0])))

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
        parts, repeated = cut(images, self.config.option_file("split_file"))
        for name in repeated:
            self.count("listed twice in the split file", name)
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
        content = read_instances(path)
        records: list[Record] = []
        known: dict[str, Record] = {}
        for index, image in enumerate(content["images"]):
            record: Record = (image, [])
            try:
                check_image(image, known, f"{path}, images[{index}]")
                records.append(record)
            except InvalidAnnotation as error:
                self.problem(error)
            if isinstance(image, dict) and is_id(image.get("id")):
                # an image that is left out is known too, so that its objects are left out with it
                known.setdefault(id_text(image["id"]), record)
        for index, annotation in enumerate(content["annotations"]):
            try:
                check_annotation(annotation, known, f"{path}, annotations[{index}]")
            except InvalidAnnotation as error:
                self.problem(error)
                annotation = class_only(annotation, known)
            if annotation is not None:
                known[id_text(annotation["image_id"])][1].append(annotation)
        self._count_twice(path, records, content["annotations"])
        if self.config.preparation != "as_is":
            records.sort(key=lambda record: id_order(record[0]["id"]))
        return records

    def _count_twice(self, path: str, records: list[Record], annotations: list[Any]) -> None:
        """Count what is listed twice but may be meant so: it is read as it is written."""
        files = Counter(image["file_name"] for image, _ in records)
        for name in (name for name, number in files.items() if number > 1):
            self.count("file_name of several images, kept", f"{path}, {name}")
        ids = [each["id"] for each in annotations if isinstance(each, dict) and is_id(each.get("id"))]
        for name in (name for name, number in Counter(map(id_text, ids)).items() if number > 1):
            self.count("annotation id twice, both kept", f"{path}, annotation {name}")

    def _generate_examples(self, records: list[tuple[Any, ...]], folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        files = ImageFiles(folder)
        for record in (record for shard in records for record in shard):
            item = os.path.join(folder, record[0]["file_name"])
            row = self.read(item, lambda record: self._row(*record, files.path(record[0]["file_name"])), record)
            if row is not None:
                yield row["image_id"], row

    def _row(self, image: dict[str, Any], annotations: list[dict[str, Any]], path: str) -> dict[str, Any]:
        size = checked_size(path, (image.get("width") or 0, image.get("height") or 0), path, self.count)
        found = list(self._found(annotations, path))
        check_boxes([box for _, _, _, box in found if box is not None], size, path, path)
        labels, objects, masks, painted = set(), [], [], []
        for annotation, item, category, box in found:
            labels.add(category)
            if box is None:
                continue
            try:
                inside, mask = self._object(annotation, box, size, item)
            except InvalidAnnotation as error:
                self.problem(error)
                continue
            if inside is not None:
                objects.append({"bbox": inside, "category": category})
            masks.append(mask)
            painted.append(category)
        row = {"image": path, "image_id": id_text(image["id"]), "labels": sorted(labels), "objects": objects}
        if self.config.with_masks():
            row["mask"] = paint(masks, painted, size)
        return row if self.config.preparation == "as_is" else prepared_row(row, size, self.count)

    def _found(
        self, annotations: list[dict[str, Any]], path: str
    ) -> Iterator[tuple[dict[str, Any], str, int, list[float] | None]]:
        """Annotations of known classes: the entry, its name in errors, its class, and xyxy; None if only the class counts."""
        for index, annotation in enumerate(annotations):
            item = f"{path}, annotation {annotation.get('id', index)}"
            if annotation.get("iscrowd") and self.config.crowd == "drop":
                self.count("crowd object, dropped on request", item)
                continue
            given = annotation.get("category_id")
            category = None if given is None else self._indices.get(id_text(given))
            if category is None and LEFT_OUT in annotation:
                continue
            try:
                if category is None:
                    known = self.info.features["objects"].feature["category"].names
                    message = f"category {given!r} is unknown; allowed: {', '.join(known)} (names)."
                    raise InvalidAnnotation("unknown class", item, message)
                yield annotation, item, category, None if LEFT_OUT in annotation else corners(annotation, item)
            except InvalidAnnotation as error:
                self.problem(error)
                if category is not None:
                    yield annotation, item, category, None

    def _object(
        self, annotation: dict[str, Any], box: list[float], size: tuple[int, int], item: str
    ) -> tuple[list[float] | None, np.ndarray]:
        """The box inside the image, None for a flat outline; and its mask, empty without masks."""
        segmentation = annotation.get("segmentation")
        try:
            inside, cut_off = clipped_box(box, size, item, " COCO boxes are x, y, width, height.")
            if cut_off:
                self.count(cut_off, item)
        except InvalidAnnotation as error:
            # COCO 2014 has two such boxes, of outlines without height: the released code keeps their class, and no pixel is
            # inside
            if error.reason != EMPTY or (self.config.preparation == "as_is" and not segmentation):
                raise
            inside = box
        flat = inside[0] == inside[2] or inside[1] == inside[3]
        mask = np.zeros(0, dtype=bool)
        if self.config.with_masks():
            whole = box_mask(inside, size)
            mask = rasterise(segmentation, size, item) if segmentation else whole
            if whole.any() and not mask.any():
                self.count("outline covers no pixel, box drawn instead", item)
                mask = whole
        if flat and self.config.preparation == "as_is":
            self.count(FLAT, item)
            return None, mask
        return inside, mask
