"""Captions of drawn scenes, with noisy box features: a generated data set for image captioning."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.shapes_captions.grammar import SHAPES, describe, sample_named_scene
from hf_guidance.dataset_scripts.shapes_vqa.regions import make_regions
from hf_guidance.dataset_scripts.shapes_vqa.scenes import CELLS, SIDE, Thing, draw
from hf_guidance.dataset_scripts.shapes_vqa.shapes_vqa import SPLITS, png

from hf_guidance.data.captions.rows import CaptionBuilder, CaptionConfig, Record, caption_features, caption_row
from hf_guidance.data.captions.segmentations import encode_mask

DESCRIPTION = (
    "Captions by a grammar about scenes of coloured shapes, noisy box features with distractors, masks of the shapes, and "
    "words that are named together in training and in the in-distribution test split, others in the other test split."
)
_DRAWING = 1  # the draws of pictures, apart from those of everything else


def shapes_features(config: "ShapesCaptionsConfig") -> datasets.Features:
    """The columns of the README."""
    text, number = datasets.Value("string"), datasets.Value("float32")
    box = datasets.List(number, length=4)
    thing = dict.fromkeys(("colour", "shape", "size", "material", "place"), text)
    columns = {
        **caption_features("segmentations"),
        "features": datasets.List(datasets.List(number, length=config.dims), length=config.num_boxes),
        "boxes": datasets.List(box, length=config.num_boxes),
        "scene": datasets.List({**thing, "named": datasets.Value("bool"), "box": box}),
    }
    if config.images:
        columns |= {"image": datasets.Image(), "object_mask": datasets.Image()}
    return datasets.Features(columns)


@dataclass
class ShapesCaptionsConfig(CaptionConfig):
    """Options of the builder; the README explains each."""

    train_size: int = 2400
    dev_size: int = 400
    test_id_size: int = 800
    test_ood_size: int = 800
    num_captions: int = 5
    min_objects: int = 3
    max_objects: int = 5
    num_boxes: int = 12
    dims: int = 64
    noise: float = 1.2
    duplicates: float = 0.5
    prior_ratio: float = 8.0
    images: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for split in SPLITS:
            self._check_range(f"{split}_size", 0, 2**32)
        self._check_range("num_captions", 1, 1000)
        self._check_range("min_objects", 2, CELLS * CELLS)
        self._check_range("max_objects", max(self.min_objects, 3), CELLS * CELLS)
        self._check_range("num_boxes", self.max_objects, 1000)
        self._check_range("dims", 1, 2**16)
        self._check_range("noise", 0, 1000)
        self._check_range("duplicates", 0, 1)
        self._check_range("prior_ratio", 1, 1000)
        self._check_range("seed", 0, 2**32)

    def _check_range(self, option: str, low: float, high: float) -> None:
        if not low <= getattr(self, option) <= high:
            raise ValueError(f"{option}: got {getattr(self, option)}; allowed: {low} to {high}.")


class ShapesCaptions(CaptionBuilder):
    """Scenes of shapes, each with several captions; one row per scene."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = ShapesCaptionsConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=DESCRIPTION, license="cc0-1.0", features=shapes_features(self.config))

    def records(self) -> dict[str, list[Record]]:
        """Split and number of every row, after its name."""
        sizes = {split: getattr(self.config, f"{split}_size") for split in SPLITS}
        return {
            split: [(f"{split}-{number:06d}", (split, number)) for number in range(size)]
            for split, size in sizes.items()
            if size
        }

    def row(self, name: str, record: tuple[str, int]) -> dict[str, Any]:
        """A scene, its captions and its boxes."""
        split, number = record
        config = self.config
        # a generator per row: the same rows in any number of processes
        rng = np.random.default_rng([config.seed, SPLITS.index(split), number])
        things, named = sample_named_scene(
            rng, config.min_objects, config.max_objects, config.prior_ratio, split == "test_ood"
        )
        regions = make_regions(things, rng, config.num_boxes, config.dims, config.noise, config.duplicates)
        captions = [describe(things, named, rng) for _ in range(config.num_captions)]
        picture, objects = draw(things, np.random.default_rng([config.seed, SPLITS.index(split), number, _DRAWING]))
        columns = {
            "segmentations": segmentations(things, objects),
            "features": regions["features"].tolist(),
            "boxes": regions["boxes"].tolist(),
            "scene": [
                {
                    **dataclasses.asdict(thing),
                    "named": index in named,
                    "box": [edge / SIDE for edge in thing.box],
                }
                for index, thing in enumerate(things)
            ],
        }
        if config.images:
            columns |= {"image": png(picture), "object_mask": png(objects)}
        return caption_row(name, name, captions[0], captions, name, **columns)


def segmentations(things: list[Thing], objects: np.ndarray) -> list[dict[str, Any]]:
    """The mask of every shape of the scene, of all objects of that shape together."""
    present = [shape for shape in SHAPES if any(thing.shape == shape for thing in things)]
    of_shape = {shape: [i + 1 for i, thing in enumerate(things) if thing.shape == shape] for shape in present}
    return [encode_mask(shape, np.isin(objects, numbers)) for shape, numbers in of_shape.items()]
