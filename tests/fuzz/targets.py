"""What is fuzzed: a reader of this library each, its valid documents, and what it may do with a broken one."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from card_targets import card_read, card_written
from documents import changed, json_bytes, xml_bytes
from PIL import Image
from transformers import ViTImageProcessor

from hf_guidance import Guidance, GuidanceCollator, Term, dataset_builder
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.objectives import Energy, InvarianceFI, Sufficiency, TaskLoss

WIDTH, HEIGHT = 40, 30
OBJECT = ["object", ["name", "cat"], ["difficult", "0"], ["truncated", "0"],
          ["bndbox", ["xmin", "3"], ["ymin", "4"], ["xmax", "20"], ["ymax", "25"]]]  # fmt: skip
VOC = [
    "annotation",
    ["filename", "0.jpg"],
    ["size", ["width", WIDTH], ["height", HEIGHT], ["depth", 3]],
    OBJECT,
    OBJECT,
]
COCO = {
    "images": [{"id": 0, "file_name": "0.jpg", "width": WIDTH, "height": HEIGHT}],
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 3, "bbox": [2, 3, 10, 12], "area": 120, "iscrowd": 0,
         "segmentation": [[2, 3, 12, 3, 12, 15, 2, 15]]},
        {"id": 2, "image_id": 0, "category_id": 7, "bbox": [0, 0, 40, 30], "area": 1200, "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, 1100]}},
    ],
}  # fmt: skip
METADATA = {"file_name": "0.jpg", "label": 1, "objects": {"bbox": [[2, 3, 10, 12], [0, 0, 5, 5]], "categories": [1, 0]}}
LISTED = {"image_id": "a", "labels": [1], "objects": [{"bbox": [2, 3, 10, 12], "category": 1}], "annotated": True}
GUIDANCES = (
    Guidance(energy=Term(Energy(GradCAM("final")), 0.5, "rows")),
    Guidance(
        task=TaskLoss(class_weights=(1.0, 2.0), label_smoothing=0.1),
        a=Term(Energy(IntegratedGradients(steps=8)), 2.0),
        b=Sufficiency(),
        c=InvarianceFI(attribution=InputXGradient("final")),
    ),
)
Run = Callable[[random.Random], bool]


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        prepare: Makes, in an empty folder, the function that reads one broken document of the given chance. It returns
            whether the document was taken, and lets errors through.
        documented: The errors that the reader may raise.
        share: Of all inputs.
    """

    prepare: Callable[[Path], Run]
    documented: tuple[type[Exception], ...]
    share: float


def guidance_file(folder: Path) -> Run:
    """guidance.json of a checkpoint."""
    known = [guidance.to_dict() for guidance in GUIDANCES]

    def run(chance: random.Random) -> bool:
        (folder / "guidance.json").write_bytes(json_bytes(chance, chance.choice(known)))
        read = Guidance.load(folder)
        assert Guidance.from_dict(json.loads(read.to_json())).to_dict() == read.to_dict()
        return True

    return run


def voc_xml(folder: Path) -> Run:
    """An annotation file of the builder pascal_voc."""
    _picture(folder / "JPEGImages" / "0.jpg")
    (folder / "Annotations").mkdir()
    return _builder("pascal_voc", folder, folder / "Annotations" / "0.xml", lambda chance: xml_bytes(chance, VOC))


def coco_json(folder: Path) -> Run:
    """The instances file of the builder coco_objects."""
    _picture(folder / "images" / "0.jpg")
    return _builder("coco_objects", folder, folder / "instances.json", lambda chance: json_bytes(chance, COCO))


def metadata_rows(folder: Path) -> Run:
    """Rows as a metadata.jsonl gives them to the collator."""
    processor = ViTImageProcessor(size={"height": 8, "width": 8})
    picture = Image.new("RGB", (WIDTH, HEIGHT))

    def run(chance: random.Random) -> bool:
        listed = chance.random() < 0.5
        row = changed(chance, LISTED if listed else METADATA)
        row = {"image": picture, **(row if isinstance(row, dict) else {})}  # datasets gives rows as dicts only
        collator = GuidanceCollator(
            processor,
            "multi_label_classification",
            2,
            bbox_format="xyxy" if listed else chance.choice(("xyxy", "xywh")),
        )
        batch = collator([row])
        if "importance" in batch:
            assert bool(((batch["importance"] >= 0) & (batch["importance"] <= 1)).all())
        return True

    return run


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def _builder(name: str, folder: Path, file: Path, content: Callable[[random.Random], bytes]) -> Run:
    def run(chance: random.Random) -> bool:
        file.write_bytes(content(chance))
        invalid = chance.choice(("raise", "skip"))
        builder = dataset_builder(name, data_dir=str(folder), invalid=invalid, cache_dir=str(folder / "cache"))
        rows = [row for split in builder.as_streaming_dataset().values() for row in split]
        for row in rows:
            for entry in row["objects"]:
                xmin, ymin, xmax, ymax = entry["bbox"]
                assert 0 <= xmin <= xmax <= WIDTH, entry  # which NaN is not, either
                assert 0 <= ymin <= ymax <= HEIGHT, entry
            assert {entry["category"] for entry in row["objects"]} <= {*row["labels"]}
        return bool(rows)

    return run


TARGETS = {
    "guidance.json": Target(guidance_file, (ValueError,), 0.35),
    "VOC XML": Target(voc_xml, (ValueError,), 0.2),
    "COCO JSON": Target(coco_json, (ValueError,), 0.2),
    "metadata.jsonl": Target(metadata_rows, (ValueError,), 0.1),
    "card of a stranger": Target(card_read, (), 0.1),
    "card metadata": Target(card_written, (), 0.05),
}


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines and bars: 100,000 inputs would write as many."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.disable(before)


@dataclass
class Count:
    """What became of the inputs of a target; ``faults`` are (seed, error)."""

    taken: int = 0
    refused: int = 0
    faults: list[tuple[int, BaseException]] = None  # type: ignore[assignment]


def fuzz(target: Target, folder: Path, seeds: range, each: Callable[[], Any] = lambda: None) -> Count:
    """Run a target on the input of every seed."""
    count, run = Count(faults=[]), target.prepare(folder)
    with quiet():
        for seed in seeds:
            try:
                taken = run(random.Random(seed))
                count.taken, count.refused = count.taken + taken, count.refused + (not taken)
            except target.documented:
                count.refused += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                count.faults.append((seed, error))
            each()
    return count
