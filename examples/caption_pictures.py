"""What the captions demo shows people: a picture of the maps of words, and a trust study, which simulated raters answer."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from simulated_rater import rate_all

from hf_guidance import dataset_builder
from hf_guidance.apps.annotation import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, export_ratings, study_preference, write_caption_study
from hf_guidance.attributions import Gradient, InputXGradient, WordLogit
from hf_guidance.data import CaptionCollator
from hf_guidance.data.captions.segmentations import category_masks
from hf_guidance.evaluation import explain_words, word_figure
from hf_guidance.evaluation.figures import save_figure

DRAWN, RATED = 2, 100  # scenes of words.png and of the trust study
RATERS = 5  # a comparison, as in the paper
STUDIES = {
    "trust": Gradient,
    "trust-input-x-gradient": InputXGradient,
}  # folder to how words and captions are explained
TITLE = "gradients of words: red speaks for the word, blue against it, each map to its own largest value"
ARMS, RIVALS = ("unguided", "hint", "hint_random"), ("unguided", "hint")


def show(models: Mapping[str, Any], collator: CaptionCollator, seed: int, folder: Path) -> str:
    """Write words.png and the trust study of some arms.

    Args:
        models: Arm to its captioner.
        collator: Of the captions.
        seed: Of the scenes.
        folder: Where to write.

    Returns:
        Which model simulated raters prefer, as text; empty where one of the two was not trained.
    """
    scenes = test_scenes(seed)
    first = scenes.select(range(DRAWN))
    if drawn := {arm: explain_words(models[arm], collator, first) for arm in ARMS if arm in models}:
        save_figure(word_figure(drawn, TITLE), folder / "words.png")
    rivals = {arm: models[arm] for arm in RIVALS if arm in models}
    if len(rivals) < 2:
        return ""
    told = [rate_by_simulation(rivals, collator, scenes, folder, name, seed) for name in STUDIES]
    return "\n".join([f"Trust studies by {RATERS} simulated raters, no people", *told])


def test_scenes(seed: int) -> Any:
    """The first scenes of the test split, with their images."""
    sizes = {"train_size": 0, "dev_size": 0, "test_id_size": RATED, "test_ood_size": 0}
    builder = dataset_builder("shapes_captions", seed=seed, images=True, **sizes)
    builder.download_and_prepare()
    return builder.as_dataset("test_id")


def rate_by_simulation(
    models: Mapping[str, Any], collator: CaptionCollator, scenes: Any, folder: Path, name: str, seed: int
) -> str:
    """Write the study of two models into a folder of the given name, and the ratings of simulated raters beside it.

    Returns:
        Which model they prefer, as text.
    """
    study, ratings, answers = folder / name, folder / f"{name}-ratings", folder / f"{name}-simulated.sqlite"
    for old in (study, ratings):  # of an earlier run
        shutil.rmtree(old, ignore_errors=True)
    for file in folder.glob(f"{answers.name}*"):
        file.unlink()
    how, target = STUDIES[name], WordLogit("sum")
    write_caption_study(models, collator, scenes, study, word=how(target=WordLogit()), caption=how(target=target))
    items = ComparisonFolder(study)
    masks = masks_of(items, collator, scenes)
    # Beside the folder, not in it: what people answer there must not be mixed with what nobody said.
    with AnswerStore(answers, items.fingerprint, len(items), items.scale) as store:
        for number in range(1, RATERS + 1):
            rate_all(items, store, masks, f"simulated rater {number}", seed)
        export_ratings(items, store, ratings)
        return f"{how.__name__} of words: {study_preference(items, store)}"


def masks_of(items: ComparisonFolder, collator: CaptionCollator, scenes: Any) -> list[np.ndarray]:
    """Where the word of each comparison is seen."""
    rows = {row["caption_id"]: row for row in scenes.select_columns(["caption_id", "segmentations"])}
    masks = []
    for place, name in enumerate(items.ids):
        category = collator.words.category(items[place].parts[0])
        masks.append(category_masks(rows[name.rpartition(":")[0]]["segmentations"], {category})[category])
    return masks
