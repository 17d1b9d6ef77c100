"""Answers as a table of ``datasets`` and as the paper's file, and answers of the paper's file taken in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_guidance.apps.annotation.store import AnswerStore
from hf_guidance.common.whole_file import free_place, whole_folder
from hf_guidance.data.images.votes import AgreementRule
from hf_guidance.data.images.yes_no import Answers, read_answers, write_answers

__all__ = ["answer_table", "export_answers", "import_answers"]

TABLE, PAPER, OF_MAPS = "answers.parquet", "answers.json", "answers-of-maps.json"


def answer_table(ids: Sequence[str], store: AnswerStore, rule: AgreementRule | None = None) -> Any:
    """The answers as a data set, one row an item in the order of the items.

    Args:
        ids: Names of the items.
        store: The answers.
        rule: What several answers stand for; None for the paper's rule.

    Returns:
        ``datasets.Dataset`` with "image_id", "answer" ("yes", "no", "maybe", or None where nobody answered), a column
        "answer_of_NAME" for every annotator (None where they did not answer), and where anybody drew boxes "boxes_of_NAME"
        ([left, top, right, bottom] in pixels).
    """
    import datasets

    agreed, columns, people = rule or AgreementRule(), store.columns(), store.annotators()
    text = datasets.Value("string")
    features: dict[str, Any] = {"image_id": text, "answer": text}
    rows: dict[str, list[Any]] = {"image_id": list(ids), "answer": []}
    for place in range(len(ids)):
        given = [columns[name][place] for name in people]
        rows["answer"].append(agreed(given) if any(word is not None for word in given) else None)
    for name in people:
        features[f"answer_of_{name}"], rows[f"answer_of_{name}"] = text, columns[name]
    for name in people:
        if drawn := store.boxes_of(name):
            features[f"boxes_of_{name}"] = datasets.List(datasets.List(datasets.Value("float32")))
            rows[f"boxes_of_{name}"] = [drawn.get(place, []) for place in range(len(ids))]
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def export_answers(
    ids: Sequence[str],
    store: AnswerStore,
    folder: str | os.PathLike[str],
    rule: AgreementRule | None = None,
    maps: str | None = None,
) -> Path:
    """Write ``answers.parquet``, which ``datasets.load_dataset`` reads, and ``answers.json``, the paper's list.

    In the paper's list images without an answer are null. Where the maps are known, ``answers-of-maps.json`` is the same list
    with their fingerprint, so that `hf_guidance.data.with_answers` refuses it for other maps.

    Args:
        ids: Names of the items.
        store: The answers.
        folder: Where to write: whole or absent.
        rule: What several answers stand for; None for the paper's rule.
        maps: ``SavedMaps.fingerprint`` of the maps that people saw, where that is known.

    Returns:
        The folder.

    Raises:
        ValueError: The folder is not empty.
    """
    target = free_place(folder)
    table = answer_table(ids, store, rule)
    with whole_folder(target) as draft:
        table.to_parquet(str(draft / TABLE))
        write_answers(draft / PAPER, table["answer"][:])
        if maps is not None:
            write_answers(draft / OF_MAPS, Answers(table["answer"][:], maps))
    return target


def import_answers(path: str | os.PathLike[str], store: AnswerStore, count: int, annotator: str) -> int:
    """Take the answers of the paper's file in, as those of one annotator; null is no answer.

    Args:
        path: A JSON list of words in the order of the items.
        store: Where they go: all of them, or none where the file is wrong.
        count: How many items there are.
        annotator: The name that they get.

    Returns:
        How many answers changed anything.

    Raises:
        ValueError: The file is damaged, has an unknown word, or not one answer an item.
    """
    found = read_answers(path)
    if len(found) != count:
        raise ValueError(
            f"{path} has {len(found)} answers for {count} images; give the list of the same images, one answer each."
        )
    return store.put_all([(place, word) for place, word in enumerate(found) if word is not None], annotator)
