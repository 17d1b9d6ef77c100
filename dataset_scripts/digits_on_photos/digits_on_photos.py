"""Handwritten digits on photographs, made from data that scikit-learn ships: a task with a shortcut, offline."""

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from hf_guidance.data.builder_base import AnnotatedImageBuilder, AnnotatedImageConfig, shards
from hf_guidance.data.images.rows import annotated_image_features

DESCRIPTION = (
    "Handwritten digits on crops of photographs, both as scikit-learn ships them. Photographs: danielbuechele (china) "
    "and vultilion (flower) on flickr, CC BY 2.0. Digits: E. Alpaydin and C. Kaynak, UCI repository."
)
PHOTOS = ("china", "flower")
SPLITS = ("train", "validation", "test")
STRIPS = {"train": (0, 2, 4), "validation": (1,), "test": (3,)}  # fifths of a photo, from the left
SHARES = (0.6, 0.8)  # of each digit's samples: train up to the first, validation up to the second, test the rest
BOXES = ("tight", "square")  # around the ink, or the whole square that was pasted
STRIP = 128  # pixels: a fifth of the 640 pixels of a photo's width
HEIGHT = 427


def sklearn_datasets() -> Any:
    """The module that holds the raw data, imported here: it takes seconds, and a cached dataset does not need it."""
    import sklearn.datasets

    return sklearn.datasets


@functools.cache
def digit_inks(split: str, digit_size: int) -> dict[int, np.ndarray]:
    """Digit -> (samples, digit_size, digit_size) ink in [0, 1]; no sample is in two splits, whatever the seed."""
    data = sklearn_datasets().load_digits()
    inks = {}
    for digit in range(10):
        samples = np.random.default_rng(digit).permutation(np.flatnonzero(data.target == digit))
        first, second = (int(share * len(samples)) for share in SHARES)
        part = dict(zip(SPLITS, (samples[:first], samples[first:second], samples[second:]), strict=True))[split]
        inks[digit] = np.stack([upscale(data.images[sample] / 16, digit_size) for sample in np.sort(part)])
    return inks


def upscale(ink: np.ndarray, size: int) -> np.ndarray:
    """8x8 ink -> size x size, with the grey fringe of the small image cut off."""
    image = Image.fromarray(ink.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    return np.clip((np.asarray(image) - 0.25) * 2, 0, 1)


@functools.cache
def photos() -> tuple[np.ndarray, ...]:
    """The two photographs, (height, width, 3) in [0, 255]."""
    sample = sklearn_datasets().load_sample_images()
    order = [next(i for i, name in enumerate(sample.filenames) if photo in name) for photo in PHOTOS]
    return tuple(np.asarray(sample.images[index]) for index in order)


def png(pixels: np.ndarray) -> dict[str, Any]:
    """An encoded image column; photographs hardly compress, so level 1 takes a third of the time of the default."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return {"path": None, "bytes": buffer.getvalue()}


def plan(split: str, size: int, classes: int, correlation: float, seed: int) -> np.ndarray:
    """(size, 2) label and background of every row: labels and groups as even as the correlation allows, shuffled."""
    agreeing = round(correlation * size)
    labels = np.arange(size) % classes
    pairs = [(label, label % 2 if row < agreeing else 1 - label % 2) for row, label in enumerate(labels)]
    order = np.random.default_rng([seed, SPLITS.index(split)]).permutation(size)
    return np.array(pairs, dtype=int).reshape(-1, 2)[order]


@dataclass
class DigitsOnPhotosConfig(AnnotatedImageConfig):
    """Options of the builder; the README explains each."""

    classes: Sequence[Sequence[int]] = ((0, 6, 8), (1, 4, 7))
    image_size: int = 64
    digit_size: int = 26
    boxes: str = "tight"
    brightness: float = 0.6
    correlation: float = 0.5
    eval_correlation: float = 0.5
    train_size: int = 2000
    validation_size: int = 400
    test_size: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        digits = [digit for group in self.classes for digit in group]
        groups = len(self.classes) >= 2 and all(self.classes)
        if not groups or len(set(digits)) < len(digits) or not set(digits) <= set(range(10)):
            raise ValueError(
                f"classes: got {self.classes}; allowed: two or more groups of digits 0 to 9, no digit twice."
            )
        if self.boxes not in BOXES:
            raise ValueError(f"boxes: got {self.boxes!r}; allowed: {', '.join(BOXES)}.")
        self._check_range("image_size", 8, STRIP)
        self._check_range("digit_size", 8, self.image_size)
        for option in ("brightness", "correlation", "eval_correlation"):
            self._check_range(option, 0, 1)
        for option in ("train_size", "validation_size", "test_size", "seed"):
            self._check_range(option, 0, 2**32)

    def _check_range(self, option: str, low: float, high: float) -> None:
        if not low <= getattr(self, option) <= high:
            raise ValueError(f"{option}: got {getattr(self, option)}; allowed: {low} to {high}.")


class DigitsOnPhotos(AnnotatedImageBuilder):
    """Classes of digits on two photographs; label and background agree in a given share of the rows.

    Even labels agree with the first photograph, odd ones with the second.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = DigitsOnPhotosConfig

    def _info(self) -> datasets.DatasetInfo:
        names = ["-".join(map(str, digits)) for digits in self.config.classes]
        groups = [f"{name}_on_{photo}" for name in names for photo in PHOTOS]
        return datasets.DatasetInfo(
            description=DESCRIPTION,
            license="cc-by-2.0",
            homepage="https://scikit-learn.org/stable/datasets.html",
            features=annotated_image_features(names, mask=True, groups=groups),
        )

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        sizes = (self.config.train_size, self.config.validation_size, self.config.test_size)
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "rows": shards(range(size))})
            for split, size in zip(SPLITS, sizes, strict=True)
            if size
        ]

    def _generate_examples(self, split: str, rows: list[tuple[int, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
        correlation = self.config.correlation if split == "train" else self.config.eval_correlation
        size = getattr(self.config, f"{split}_size")
        plans = plan(split, size, len(self.config.classes), correlation, self.config.seed)
        for row in (row for shard in rows for row in shard):
            label, background = map(int, plans[row])
            yield row, self._row(split, row, label, background)

    def _row(self, split: str, row: int, label: int, background: int) -> dict[str, Any]:
        # a generator per row: the same rows in any number of processes
        rng = np.random.default_rng([self.config.seed, SPLITS.index(split), row])
        side, size = self.config.image_size, self.config.digit_size
        left = int(rng.choice(STRIPS[split])) * STRIP + rng.integers(STRIP - side + 1)
        top = rng.integers(HEIGHT - side + 1)
        crop = photos()[background][top : top + side, left : left + side]
        samples = digit_inks(split, size)[int(rng.choice(list(self.config.classes[label])))]
        y, x = rng.integers(side - size + 1, size=2)
        ink = np.zeros((side, side, 1))
        ink[y : y + size, x : x + size, 0] = samples[rng.integers(len(samples))]
        image = np.round(crop * self.config.brightness * (1 - ink) + 255 * ink)
        mask = ink[..., 0] > 0
        box = [x, y, x + size, y + size]
        if self.config.boxes == "tight":
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        return {
            "image": png(image),
            "image_id": f"{split}-{row:05d}",
            "labels": [label],
            "objects": [{"bbox": [float(edge) for edge in box], "category": label}],
            "mask": png(mask * 255),
            "group": 2 * label + background,
        }
