"""Ratings as a table of ``datasets``, and which model they prefer."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_guidance.apps.annotation.agreement import agreement
from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.apps.trust_study.folder import ComparisonFolder
from hf_guidance.common.whole_file import free_place, whole_folder
from hf_guidance.evaluation.analysis.preference import Preference, preference

__all__ = ["ExportedRatings", "export_ratings", "rating_table", "study_preference"]

TABLE, SUMMARY = "ratings.parquet", "preference.json"


@dataclass(frozen=True)
class ExportedRatings:
    """What was written.

    Attributes:
        folder: Where.
        preference: Which model is preferred.
        alpha: Krippendorff's alpha of ordinal ratings; None where it is not defined.
    """

    folder: Path
    preference: Preference
    alpha: float | None


def rating_table(items: ComparisonFolder, store: AnswerStore) -> Any:
    """The ratings as a data set, one row a comparison in the order of the folder.

    Args:
        items: The comparisons.
        store: The ratings.

    Returns:
        ``datasets.Dataset`` with "id", "text", "mean_rating" (-2, the first model is clearly better, to 2, the second is; None
        where nobody rated), and for every rater "rating_of_NAME" and "shown_first_to_NAME", the model that stood there as
        "Model 1" (None where they did not rate, or it is not known).
    """
    import datasets

    text, whole = datasets.Value("string"), datasets.Value("int8")
    features: dict[str, Any] = {"id": text, "text": text, "mean_rating": datasets.Value("float32")}
    columns, places = store.columns(), range(len(items))
    rated = [[int(given[place]) for given in columns.values() if given[place] is not None] for place in places]  # type: ignore[arg-type]
    rows: dict[str, list[Any]] = {
        "id": list(items.ids),
        "text": [items.text(place) for place in places],
        "mean_rating": [sum(given) / len(given) if given else None for given in rated],
    }
    for name, given in columns.items():
        swapped = store.swapped_of(name)
        features[f"rating_of_{name}"], features[f"shown_first_to_{name}"] = whole, text
        rows[f"rating_of_{name}"] = [None if word is None else int(word) for word in given]
        rows[f"shown_first_to_{name}"] = [
            items.models[swapped[place]] if place in swapped else None for place in places
        ]
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def study_preference(items: ComparisonFolder, store: AnswerStore, **options: Any) -> Preference:
    """Which model the raters prefer.

    Args:
        items: The comparisons.
        store: The ratings.
        **options: Of `preference`: ``samples``, ``level``, ``seed``.

    Raises:
        ValueError: Nobody has rated anything.
    """
    columns = store.columns()
    ratings = np.full((len(items), len(columns)), math.nan)
    swapped = ratings.copy()
    for rater, (name, given) in enumerate(columns.items()):
        ratings[:, rater] = [math.nan if word is None else int(word) for word in given]
        for place, side in store.swapped_of(name).items():
            swapped[place, rater] = side
    return preference(ratings, items.models, swapped=swapped, **options)


def export_ratings(items: ComparisonFolder, store: AnswerStore, folder: str | os.PathLike[str]) -> ExportedRatings:
    """Write ``ratings.parquet``, which ``datasets.load_dataset`` reads, and ``preference.json``.

    Args:
        items: The comparisons.
        store: The ratings.
        folder: Where to write: whole or absent.

    Returns:
        What was written.

    Raises:
        ValueError: The folder is not empty, or nobody has rated anything.
    """
    target = free_place(folder)
    found, agreed = study_preference(items, store), agreement(store.columns(), items.scale)
    table = rating_table(items, store)
    with whole_folder(target) as draft:
        table.to_parquet(str(draft / TABLE))
        summary = asdict(found) | {"krippendorff_alpha": agreed.alpha}
        (draft / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return ExportedRatings(target, found, agreed.alpha)
