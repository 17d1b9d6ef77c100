"""Builder for Waterbirds and sets of its layout: objects pasted on places that agree with the class or do not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.waterbirds.files import Line, plain_id, read_box_lines, read_metadata
from PIL import Image

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, InvalidAnnotation, shards
from hf_guidance.data.images.annotated_size import box_mask
from hf_guidance.data.images.box_checks import check_boxes, clipped_box
from hf_guidance.data.images.image_files import with_slashes
from hf_guidance.data.images.mask_files import read_mask, tight_box
from hf_guidance.data.images.pictures import verify_image
from hf_guidance.data.images.rows import annotated_image_features

SPLITS = ("train", "validation", "test")  # as metadata.csv numbers them
CORNERS = ("xmin", "ymin", "xmax", "ymax")
BOX_FILES = ("bounding_boxes.txt", os.path.join("CUB_200_2011", "bounding_boxes.txt"))
MASK_FOLDERS = ("segmentations", "masks")


@dataclass
class WaterbirdsConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    task: str = "conventional"
    source: str = "boxes"
    validation: str = "all"
    metadata_file: str = "metadata.csv"
    boxes_file: str | None = None
    mask_dir: str | None = None
    names: Sequence[str] = ("landbird", "waterbird")
    places: Sequence[str] = ("land", "water")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("task", ("conventional", "reversed"))
        self.check_choice("source", ("boxes", "masks"))
        self.check_choice("validation", ("all", "matched"))
        for option in ("names", "places"):
            given = getattr(self, option)
            if isinstance(given, str) or len(set(given)) != 2 or len(given) != 2:
                raise ValueError(f"{option}: got {given!r}; allowed: two different names, for 0 and for 1.")

    def path(self, *parts: str) -> str:
        """A path in data_dir, unless it is absolute."""
        if self.data_dir is None:
            raise ValueError(f"data_dir: got None; pass the folder that holds {self.metadata_file} and the images.")
        base = os.path.abspath(os.path.expanduser(self.data_dir))
        return os.path.join(base, *(os.path.expanduser(part) for part in parts))

    def image_path(self, name: str) -> str:
        """The path of a file that metadata.csv names; backslashes are slashes where there is no file of just this name."""
        path = self.path(name)
        return path if os.path.isfile(path) else self.path(with_slashes(name))

    def box_path(self, header: Sequence[str]) -> str | None:
        """The file of the boxes; None where the columns of metadata.csv hold them."""
        if self.boxes_file is None and set(CORNERS) <= set(header):
            return None
        tried = [self.path(name) for name in (BOX_FILES if self.boxes_file is None else (self.boxes_file,))]
        found = [path for path in tried if os.path.isfile(path)]
        if not found:
            raise ValueError(
                f"boxes_file: none of {tried} is a file, and {self.path(self.metadata_file)} has no columns "
                f"{', '.join(CORNERS)}; pass boxes_file='...' (CUB-200-2011's bounding_boxes.txt), or source='masks'."
            )
        return found[0]

    def mask_path(self, line: dict[str, str]) -> str:
        """The mask of a line of metadata.csv: its column mask_filename, or the same name in a folder of masks."""
        if self.mask_dir is None and "mask_filename" in line:
            return self.image_path(line["mask_filename"]) if line["mask_filename"] else ""
        folders = [self.path(name) for name in (MASK_FOLDERS if self.mask_dir is None else (self.mask_dir,))]
        folder = next((path for path in folders if os.path.isdir(path)), None)
        if folder is None:
            raise ValueError(
                f"mask_dir: none of {folders} is a folder, and {self.path(self.metadata_file)} has no column "
                "mask_filename; pass mask_dir='...' (CUB-200-2011's segmentations), or source='boxes'."
            )
        return os.path.join(folder, os.path.splitext(with_slashes(line["img_filename"]))[0] + ".png")

    def raw_files(self) -> tuple[list[str], list[str]]:
        path = self.path(self.metadata_file)
        lines = [line.columns for line in read_metadata(path)]
        annotations, images = [path], [self.image_path(line["img_filename"]) for line in lines]
        if self.source == "masks":
            images += [self.mask_path(line) for line in lines]
        elif (boxes := self.box_path(list(lines[0]))) is not None:
            annotations.append(boxes)
        return annotations, [image for image in images if os.path.isfile(image)]


def index(line: dict[str, str], column: str, names: Sequence[str], item: str) -> int:
    """The number in a column: an index into names."""
    value = plain_id(line[column])
    if value not in map(str, range(len(names))):
        allowed = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise InvalidAnnotation(f"unknown {column}", item, f"{column} is {value!r}; allowed: {allowed}.")
    return int(value)


def numbers(values: Sequence[str], item: str, image_id: str, other: str | None) -> list[float]:
    """Four finite or infinite numbers; where there are none, ``other`` is an id of the box file that is almost the image's."""
    if not any(values):
        message = f"no box: neither {', '.join(CORNERS)} nor a line of its id."
        if other is not None:
            message += f" The box file has the id {other!r}, metadata.csv {image_id!r}: write both with as many zeros."
        raise InvalidAnnotation("label without box", item, message)
    try:
        return [float(value) for value in values]
    except ValueError:
        raise InvalidAnnotation("box not finite", item, f"box {list(values)}; allowed: four numbers.") from None


class Waterbirds(AnnotatedImageBuilder):
    """Objects on places, with group = 2 * y + place."""

    VERSION = datasets.Version("1.1.0")  # 1.0.0 left out boxes that leave the image
    BUILDER_CONFIG_CLASS = WaterbirdsConfig

    def _info(self) -> datasets.DatasetInfo:
        names, places = list(self.config.names), list(self.config.places)
        groups = [f"{name}_on_{place}" for name in names for place in places]
        reverse = self.config.task == "reversed"
        mask = reverse or self.config.source == "masks"
        return datasets.DatasetInfo(
            description="Objects pasted on places; in training the place tells the class in most or all of the rows.",
            features=annotated_image_features(places if reverse else names, mask=mask, groups=groups),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"records": shards(records)})
            for split, records in self._records().items()
        ]

    def _records(self) -> dict[str, list[dict[str, Any]]]:
        """Split -> the records of its rows, from metadata.csv; splits without a line are left out."""
        path = self.config.path(self.config.metadata_file)
        lines = read_metadata(path)
        boxes = self._boxes(list(lines[0].columns)) if self.config.source == "boxes" else None
        padded = {number.lstrip("0"): number for number in boxes or ()}
        records: dict[str, list[dict[str, Any]]] = {}
        seen: set[str] = set()
        for line in lines:
            columns = line.columns
            item = f"{path}, line {line.number} (img_id {columns['img_id']})"
            found = self.read(item, lambda line, item=item: self._record(line, item, seen), line)
            if found is None:
                continue
            split, record = found
            seen.add(record["image_id"])
            rows = records.setdefault(split, [])
            if split == "validation" and self.config.validation == "matched" and record["y"] != record["place"]:
                self.count("validation row of an unmatched group, left out on request", item)
                continue
            if self.config.source == "masks":
                record["mask"] = self.config.mask_path(columns)
            elif boxes is None:
                record["corners"] = [columns[corner] for corner in CORNERS]
            else:
                record["corner_and_size"] = boxes.get(record["image_id"], ())
                record["other_id"] = padded.get(record["image_id"].lstrip("0"))
            rows.append(record)
        return {split: records[split] for split in SPLITS if split in records}

    def _record(self, line: Line, item: str, seen: set[str]) -> tuple[str, dict[str, Any]]:
        """The split of a line, and the record of its row without box and mask; ``seen`` are the ids of earlier lines."""
        columns = line.columns
        if line.fault:
            raise InvalidAnnotation("line with too few or too many fields", item, line.fault)
        if not columns["img_id"] or not columns["img_filename"]:
            raise InvalidAnnotation("line without img_id or img_filename", item, f"got {columns}.")
        if columns["img_id"] in seen:
            raise InvalidAnnotation("image id twice", item, "an earlier line has the same img_id.")
        y, place = (index(columns, *pair, item) for pair in (("y", self.config.names), ("place", self.config.places)))
        image = self.config.image_path(columns["img_filename"])
        record = {"image_id": columns["img_id"], "image": image, "y": y, "place": place, "item": item}
        return SPLITS[index(columns, "split", SPLITS, item)], record

    def _boxes(self, header: Sequence[str]) -> dict[str, list[str]] | None:
        """Image id -> x, y, width, height as a box file has them; None where metadata.csv has the boxes."""
        path = self.config.box_path(header)
        if path is None:
            return None
        boxes: dict[str, list[str]] = {}
        for number, fields in read_box_lines(path):
            number_or_text = plain_id(fields[0])
            if len(fields) == 5 and number_or_text not in boxes:
                boxes[number_or_text] = fields[1:]
                continue
            message = f"got {' '.join(fields)!r}; allowed: id x y width height, each id once."
            self.problem(InvalidAnnotation("malformed line of the box file", f"{path}, line {number}", message))
        return boxes

    def _generate_examples(self, records: list[tuple[Any, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for record in (record for shard in records for record in shard):
            row = self.read(record["item"], self._row, record)
            if row is not None:
                yield record["image_id"], row

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        if not os.path.isfile(record["image"]):
            raise InvalidAnnotation("line without image", record["item"], f"there is no image {record['image']}.")
        size = verify_image(record["image"])
        reverse = self.config.task == "reversed"
        label = record["place"] if reverse else record["y"]
        row = {
            "image": record["image"], "image_id": record["image_id"], "labels": [label], "objects": [],
            "group": 2 * record["y"] + record["place"],
        }  # fmt: skip
        if reverse or self.config.source == "masks":
            row["mask"] = None
        try:
            box, inside = self._inside(record, size)
        except InvalidAnnotation as error:
            self.problem(error)  # with "skip" the row stays, without annotation
            return row
        if "mask" in row:
            row["mask"] = Image.fromarray(((inside != reverse) * 255).astype(np.uint8))
        if reverse and inside.all():
            self.count("object covers the image, nothing is outside", record["item"])
        if not reverse:
            row["objects"] = [{"bbox": box, "category": label}]
        return row

    def _inside(self, record: dict[str, Any], size: tuple[int, int]) -> tuple[list[float], np.ndarray]:
        """The box of the object, and which pixels are inside."""
        item = record["item"]
        if self.config.source == "masks":
            if not record["mask"]:
                raise InvalidAnnotation("label without mask", item, "there is no mask in column mask_filename.")
            mask = read_mask(record["mask"], size, item)
            return tight_box(mask), mask
        x, y, right, bottom = numbers(
            record.get("corners", record.get("corner_and_size")), item, record["image_id"], record.get("other_id")
        )
        box = [x, y, right, bottom] if "corners" in record else [x, y, x + right, y + bottom]
        check_boxes([box], size, item, record["image"])
        box, cut = clipped_box(
            box, size, item, " CUB's boxes are x, y, width, height; those of metadata.csv are corners."
        )
        if cut:
            self.count(cut, item)
        return box, box_mask(box, size)
