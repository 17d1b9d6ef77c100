"""Questions with programs about drawn scenes, with noisy box features: a generated data set for question answering."""

import dataclasses
import functools
import io
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from hf_guidance.dataset_scripts.shapes_vqa.questions import KINDS, Question, execute, make_question
from hf_guidance.dataset_scripts.shapes_vqa.regions import iou, make_regions
from hf_guidance.dataset_scripts.shapes_vqa.scenes import CELLS, SIDE, Thing, draw, sample_scene
from hf_guidance.dataset_scripts.shapes_vqa.sub_questions import question_pairs
from PIL import Image

from hf_guidance.data.questions.rows import QuestionBuilder, QuestionConfig, Record, question_features, question_row

DESCRIPTION = (
    "Compositional questions with programs about scenes of coloured shapes, noisy box features with distractors, exact "
    "importance of the boxes, and answer priors that change between the in-distribution and the other test split."
)
SPLITS = ("train", "dev", "test_id", "test_ood")
SHARES = {"query": 0.7, "exist": 0.1, "same": 0.1, "count": 0.05, "relation": 0.05}
"""How often each family of kinds is asked by default; the kinds of a family are asked equally often."""
REASONING_SHARE = 0.3
"""That of all families but "query", whose questions rest on no others."""
_PAIRS = 1  # the draws of sub-questions and irrelevant questions, apart from those of everything else
_PRIOR_SEED = 2022  # which answers are frequent is part of the task, so it is the same for every seed


def family(kind: str) -> str:
    """The family of a kind of question: a key of SHARES."""
    name = kind.split("_")[0]
    return name if name in SHARES else "relation"


def family_shares(reasoning_share: float) -> dict[str, float]:
    """How often each family is asked where reasoning questions have a share in [0, 1]; among them SHARES holds."""
    scale = reasoning_share / REASONING_SHARE
    return {name: 1 - reasoning_share if name == "query" else share * scale for name, share in SHARES.items()}


@functools.cache
def answer_prior(kind: str, ratio: float, ood: bool) -> np.ndarray:
    """Probability of each answer of KINDS[kind]: falls geometrically from the first to the last of a fixed order.

    The most frequent answer is `ratio` times as frequent as the rarest; out of distribution the order is reversed.
    """
    count = len(KINDS[kind])
    ranks = np.random.default_rng([_PRIOR_SEED, list(KINDS).index(kind)]).permutation(count)
    weights = ratio ** -((count - 1 - ranks if ood else ranks) / (count - 1))
    return weights / weights.sum()


def png(pixels: np.ndarray) -> dict[str, Any]:
    """An encoded image column."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return {"path": None, "bytes": buffer.getvalue()}


def shapes_features(config: "ShapesVqaConfig") -> datasets.Features:
    """The columns of the README."""
    text, number = datasets.Value("string"), datasets.Value("float32")
    step = {"function": text, "value": text, "inputs": datasets.List(datasets.Value("int32"))}
    thing = dict.fromkeys(("colour", "shape", "size", "material", "place"), text)
    box, importance = datasets.List(number, length=4), datasets.List(number)
    part = {"question": text, "answer": text, "importance": importance, "program": datasets.List(step)}
    columns = {
        **question_features("importance"),
        "features": datasets.List(datasets.List(number, length=config.dims), length=config.num_boxes),
        "boxes": datasets.List(box, length=config.num_boxes),
        "program": datasets.List(step),
        "scene": datasets.List({**thing, "box": box}),
        "sub_questions": datasets.List(part),
        "irrelevant_questions": datasets.List(part),
    }
    if config.images:
        columns |= {name: datasets.Image() for name in ("image", "mask", "object_mask")}
    return datasets.Features(columns)


@dataclass
class ShapesVqaConfig(QuestionConfig):
    """Options of the builder; the README explains each."""

    train_size: int = 2400
    dev_size: int = 400
    test_id_size: int = 800
    test_ood_size: int = 800
    min_objects: int = 3
    max_objects: int = 6
    num_boxes: int = 12
    dims: int = 64
    noise: float = 1.2
    duplicates: float = 0.5
    importance: str = "iou"
    prior_ratio: float = 3.0
    reasoning_share: float = REASONING_SHARE
    images: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("importance", ("iou", "exact"))
        for split in SPLITS:
            self._check_range(f"{split}_size", 0, 2**32)
        self._check_range("min_objects", 3, CELLS * CELLS)
        self._check_range("max_objects", self.min_objects, CELLS * CELLS)
        self._check_range("num_boxes", self.max_objects, 1000)
        self._check_range("dims", 1, 2**16)
        self._check_range("noise", 0, 1000)
        self._check_range("duplicates", 0, 1)
        self._check_range("prior_ratio", 1, 1000)
        self._check_range("reasoning_share", 0, 1)
        self._check_range("seed", 0, 2**32)

    def _check_range(self, option: str, low: float, high: float) -> None:
        if not low <= getattr(self, option) <= high:
            raise ValueError(f"{option}: got {getattr(self, option)}; allowed: {low} to {high}.")


class ShapesVqa(QuestionBuilder):
    """Questions about scenes of shapes; one scene per question."""

    VERSION = datasets.Version("1.1.0")  # 1.1.0: other sub- and irrelevant questions
    BUILDER_CONFIG_CLASS = ShapesVqaConfig

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
        """A question, its scene and its boxes."""
        split, number = record
        # a generator per row: the same rows in any number of processes
        rng = np.random.default_rng([self.config.seed, SPLITS.index(split), number])
        kind, question, things = self._sample(split, rng)
        config = self.config
        regions = make_regions(things, rng, config.num_boxes, config.dims, config.noise, config.duplicates)
        answer, needed = execute(question.program, things)
        apart = np.random.default_rng([config.seed, SPLITS.index(split), number, _PAIRS])
        pairs = question_pairs(question, things, apart)
        entry = {
            "question_id": name,
            "image_id": name,
            "question": question.text,
            "question_type": kind,
            "answer_type": {"count": "number", "query": "other"}.get(family(kind), "yes/no"),
        }
        columns = {
            "features": regions["features"].tolist(),
            "boxes": regions["boxes"].tolist(),
            "importance": self._importance(needed, things, regions),
            "program": question.program,
            "scene": [{**dataclasses.asdict(thing), "box": [edge / SIDE for edge in thing.box]} for thing in things],
            "sub_questions": [self._part(part, things, regions) for part, _ in pairs],
            "irrelevant_questions": [self._part(part, things, regions) for _, part in pairs],
        }
        if config.images:
            image, objects = draw(things, rng)
            mask = np.isin(objects, np.array(needed) + 1) * np.uint8(255)
            columns |= {"image": png(image), "mask": png(mask), "object_mask": png(objects)}
        return question_row(entry, [answer], name, **columns)

    def _sample(self, split: str, rng: np.random.Generator) -> tuple[str, Question, list[Thing]]:
        """Draw kind and answer first, then scenes until one allows such a question, so that the priors hold exactly."""
        families = {name: [kind for kind in KINDS if family(kind) == name] for name in SHARES}
        shares = family_shares(self.config.reasoning_share)
        kinds = families[str(rng.choice(list(shares), p=list(shares.values())))]
        kind = kinds[int(rng.integers(len(kinds)))]
        prior = answer_prior(kind, self.config.prior_ratio, split == "test_ood")
        answer = KINDS[kind][int(rng.choice(len(prior), p=prior))]
        while True:
            things = sample_scene(rng, int(rng.integers(self.config.min_objects, self.config.max_objects + 1)))
            question = make_question(kind, answer, things, rng)
            if question is not None:
                return kind, question, things

    def _part(self, part: Question, things: list[Thing], regions: dict[str, Any]) -> dict[str, Any]:
        answer, needed = execute(part.program, things)
        importance = self._importance(needed, things, regions)
        return {"question": part.text, "answer": answer, "importance": importance, "program": part.program}

    def _importance(self, needed: list[int], things: list[Thing], regions: dict[str, Any]) -> list[float]:
        """One number per box in [0, 1]: its largest IoU with a needed object; "exact": 1 on the needed objects' own boxes."""
        if not needed:
            return [0.0] * self.config.num_boxes
        if self.config.importance == "exact":
            return [float(owner in needed) for owner in regions["owner"]]
        references = np.array([things[index].box for index in needed]) / SIDE
        return iou(regions["boxes"].astype(np.float64), references).max(axis=1).astype(np.float32).tolist()
