"""The trust study of the captions demo: a folder that people can rate, and what simulated raters say of it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from simulated_rater import rate_all

from hf_guidance.apps.annotation import AnswerStore
from hf_guidance.apps.trust_study import ComparisonFolder, export_ratings, study_preference, write_caption_study
from hf_guidance.data import CaptionCollator
from hf_guidance.data.captions.segmentations import category_masks

RATERS = 5  # a comparison, as in the paper


def rate_by_simulation(
    models: Mapping[str, Any], collator: CaptionCollator, scenes: Any, folder: Path, seed: int
) -> str:
    """Write the study of two models into ``folder``/trust and the ratings of simulated raters into ``folder``/ratings.

    Returns:
        Which model they prefer, as text.
    """
    for name in ("trust", "ratings"):  # of an earlier run
        shutil.rmtree(folder / name, ignore_errors=True)
    for file in folder.glob("simulated.sqlite*"):
        file.unlink()
    items = ComparisonFolder(write_caption_study(models, collator, scenes, folder / "trust"))
    masks = masks_of(items, collator, scenes)
    # Beside the folder, not in it: what people answer there must not be mixed with what nobody said.
    with AnswerStore(folder / "simulated.sqlite", items.fingerprint, len(items), items.scale) as store:
        for number in range(1, RATERS + 1):
            rate_all(items, store, masks, f"simulated rater {number}", seed)
        export_ratings(items, store, folder / "ratings")
        return f"Trust study by {RATERS} simulated raters, no people:\n{study_preference(items, store)}"


def masks_of(items: ComparisonFolder, collator: CaptionCollator, scenes: Any) -> list[np.ndarray]:
    """Where the word of each comparison is seen."""
    rows = {row["caption_id"]: row for row in scenes.select_columns(["caption_id", "segmentations"])}
    masks = []
    for place, name in enumerate(items.ids):
        category = collator.words.category(items[place].parts[0])
        masks.append(category_masks(rows[name.rpartition(":")[0]]["segmentations"], {category})[category])
    return masks
