"""Small folders of raw data, with whatever a test needs to be wrong in them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, width: int = 40, height: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "PNG" if path.suffix.lower() == ".png" else "JPEG")


def voc_object(name="cat", box=(1, 1, 10, 10), flags="") -> str:
    corners = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{flags}<bndbox>{corners}</bndbox></object>"


def write_xml(path: Path, objects: str, size: str | None = None, filename: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = "<size><width>40</width><height>30</height><depth>3</depth></size>" if size is None else size
    path.write_text(f"<annotation><filename>{filename or path.stem + '.jpg'}</filename>{size}{objects}</annotation>")


def make_voc(root: Path, count: int = 4) -> Path:
    """Images 0 to count - 1 with a cat and a dog each, all in train, the last one in val too."""
    for index in range(count):
        write_image(root / "JPEGImages" / f"{index}.jpg")
        write_xml(root / "Annotations" / f"{index}.xml", voc_object("dog", (5, 6, 40, 30)) + voc_object())
    main = root / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "train.txt").write_text("\n".join(map(str, range(count))) + "\n")
    (main / "val.txt").write_text(f"{count - 1}\n")
    return root


def coco_annotation(index: int, image: int = 0, category: int = 3, bbox=(2, 3, 10, 12), **others) -> dict:
    area = bbox[2] * bbox[3] if len(bbox) == 4 else 0
    fields = {"id": index, "image_id": image, "category_id": category, "bbox": list(bbox), "area": area, "iscrowd": 0}
    return {**fields, "segmentation": [], **others}


def make_coco(root: Path, annotations: list[dict] | None = None, count: int = 4) -> Path:
    """Images 0 to count - 1 and categories 3 (cat) and 7 (dog), so that ids have gaps."""
    if annotations is None:
        annotations = [coco_annotation(index, index % count, (3, 7)[index % 2]) for index in range(2 * count)]
    for index in range(count):
        write_image(root / "images" / f"{index}.jpg")
    images = [{"id": index, "file_name": f"{index}.jpg", "width": 40, "height": 30} for index in range(count)]
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return root


def make_coco_captions(
    root: Path, count: int = 4, annotations: list[dict] | None = None, captions: list[dict] | None = None
) -> Path:
    """Images 0 to count - 1 in train and as many from 100 in val, two captions each: a cat on the left, a dog on the right."""
    for split, first in (("train", 0), ("val", 100)):
        numbers = range(first, first + count)
        images = [{"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 30} for n in numbers]
        said = [
            {"id": 10 * n + i, "image_id": n, "caption": text}
            for n in numbers
            for i, text in enumerate((f"A cat and a dog {n}.", "a dog"))
        ]
        outline = {3: [0, 0, 20, 0, 20, 30, 0, 30], 7: [20, 0, 40, 0, 40, 30, 20, 30]}
        objects = [
            coco_annotation(10 * n + i, n, category, segmentation=[outline[category]])
            for n in numbers
            for i, category in enumerate((3, 7))
        ]
        categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
        given = split == "train"
        folder = root / "annotations"
        folder.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "annotations": captions if given and captions is not None else said}
        (folder / f"captions_{split}2014.json").write_text(json.dumps(content))
        instances = {
            "images": images, "categories": categories,
            "annotations": annotations if given and annotations is not None else objects,
        }  # fmt: skip
        (folder / f"instances_{split}2014.json").write_text(json.dumps(instances))
    return root


WATERBIRDS_HEADER = "img_id,img_filename,y,split,place,place_filename"


def waterbirds_lines(count: int = 24) -> list[str]:
    """Lines of metadata.csv in which y, place and split take every value; place agrees with y in half of the rows."""
    return [f"{index + 1},birds/{index}.jpg,{index % 2},{index // 8},{index // 2 % 2},/x.jpg" for index in range(count)]


def make_waterbirds(root: Path, count: int = 24) -> Path:
    """Images 1 to count of 40 x 30 with a box (4, 5, 14, 17) each, eight to a split, and masks of the box's left half."""
    for index in range(count):
        write_image(root / "birds" / f"{index}.jpg")
        mask = np.zeros((30, 40), dtype=np.uint8)
        mask[5:17, 4:9] = 255
        (root / "segmentations" / "birds").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / "segmentations" / "birds" / f"{index}.png")
    (root / "metadata.csv").write_text("\n".join([WATERBIRDS_HEADER, *waterbirds_lines(count)]) + "\n")
    boxes = (f"{index + 1} 4.0 5.0 10.0 12.0" for index in range(count))
    (root / "bounding_boxes.txt").write_text("\n".join(boxes) + "\n")
    return root


CELEBA_HEADER = "5_o_Clock_Shadow Black_Hair Blond_Hair Smiling Young"
CELEBA_SIZES = {"train_rows": 12, "aligned": 4, "conflicting": 2, "test_per_group": 2, "validation_per_group": 1}


def celeba_lines(no: int = -1) -> list[str]:
    """Lines of list_attr_celeba.txt, of which CELEBA_SIZES draws all: groups 0 and 3 four times, 1 and 2 twice, then threes."""
    groups = [0, 3] * 4 + [1, 2] * 2 + [0, 1, 2, 3] * 3
    values = [(no, *(1 if on else no for on in (group % 2, group % 2 == 0, group // 2)), 1) for group in groups]
    return [f"{row + 1:06d}.jpg  {' '.join(f'{value:2d}' for value in each)}" for row, each in enumerate(values)]


def make_celeba(root: Path, lines: list[str] | None = None) -> Path:
    """Images of 20 x 24, whose masks are a mouth at (6, 15, 14, 19)."""
    lines = celeba_lines() if lines is None else lines
    for name in dict.fromkeys(line.split()[0] for line in lines):
        write_image(root / "img_align_celeba" / name, 20, 24)
        mask = np.zeros((24, 20), dtype=np.uint8)
        mask[15:19, 6:14] = 255
        (root / "mouths").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "mouths" / f"{Path(name).stem}.png")
    (root / "list_attr_celeba.txt").write_text("\n".join([str(len(lines)), CELEBA_HEADER, *lines]) + "\n")
    return root


IN9_FOLDERS = [
    "00_dog", "01_bird", "02_wheeled vehicle", "03_reptile", "04_carnivore", "05_insect", "06_musical instrument",
    "07_primate", "08_fish",
]  # fmt: skip


def make_imagenet9(root: Path, count: int = 2) -> Path:
    """Images of 40 x 30 of every class and variant, and in only_fg what is left of them: a white square at (8, 5, 20, 15)."""
    for variant in ("original", "mixed_same", "mixed_rand", "only_fg"):
        for split in ("train", "val") if variant in ("original", "only_fg") else ("val",):
            for name in (f"{folder}/{split}{index}.JPEG" for folder in IN9_FOLDERS for index in range(count)):
                path = root / variant / split / name
                write_image(path)
                if variant == "only_fg":
                    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
                    pixels[5:15, 8:20] = 255
                    Image.fromarray(pixels).save(path, "PNG")
    return root
