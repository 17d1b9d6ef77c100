"""The files of a folder of maps: shards of rows, what they were made of, and the list that makes them whole.

``maps.json`` is written last; while it is missing, ``unfinished.json`` says what the shards there are made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hf_guidance.common.text_files import read_json
from hf_guidance.common.whole_file import whole_file
from hf_guidance.data.columns import SAVED_MAP

FINISHED, UNFINISHED = "maps.json", "unfinished.json"
FORMAT = 1
_MOST_NUMBERS = 2**27  # of a chunk: Arrow counts those of a list in 32 bit
ROW_FINGERPRINT = "row_fingerprint"
"""Column of a shard: the fingerprint of the row that a map belongs to."""
_AGAIN = "Run extract_maps with the same arguments: it makes only what is missing."


def shard_name(shard: int, shards: int) -> str:
    """File name of a shard."""
    return f"maps-{shard:05d}-of-{shards:05d}.arrow"


def write_shard(file: Path, maps: npt.NDArray[np.float32], fingerprints: Sequence[str]) -> None:
    """Write a shard, whole or not at all.

    Args:
        file: The file.
        maps: (rows, height, width) float32.
        fingerprints: Of the rows.
    """
    features = _features(maps) | {ROW_FINGERPRINT: datasets.Value("string")}
    columns = [_column(maps), pa.array(fingerprints, pa.string())]
    table = pa.Table.from_arrays(columns, schema=datasets.Features(features).arrow_schema)
    with whole_file(file) as draft, pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)


def read_shard(file: Path) -> datasets.Dataset:
    """A shard, mapped into memory.

    Raises:
        ValueError: There is no such file, it is damaged, or it holds other columns.
    """
    if not file.is_file():
        raise ValueError(f"{file.parent} lacks its shard {file.name}. {_AGAIN}")
    try:
        shard = datasets.Dataset.from_file(str(file))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}). Delete it. {_AGAIN}") from error
    if not isinstance(shard.features.get(SAVED_MAP), datasets.Array2D) or ROW_FINGERPRINT not in shard.features:
        raise ValueError(f"{file} is no shard of maps; it has the columns {shard.column_names}. Delete it. {_AGAIN}")
    return shard


def in_memory(maps: npt.NDArray[np.float32]) -> datasets.Dataset:
    """A data set of one column, ``saved_map``.

    Args:
        maps: (rows, height, width) float32.
    """
    table = pa.Table.from_arrays([_column(maps)], schema=datasets.Features(_features(maps)).arrow_schema)
    return datasets.Dataset(datasets.table.InMemoryTable(table))


def views_of(rows: datasets.Dataset) -> list[npt.NDArray[np.float32]]:
    """The maps of shards as arrays (rows, height, width), one after the other, without a copy."""
    shape = shape_of(rows)
    chunks = [chunk.storage.flatten().flatten() for chunk in rows.data.column(SAVED_MAP).chunks]
    return [chunk.to_numpy(zero_copy_only=True).reshape(-1, *shape) for chunk in chunks]


def shape_of(shard: datasets.Dataset) -> tuple[int, int]:
    """(height, width) of the maps of a shard."""
    height, width = shard.features[SAVED_MAP].shape
    return int(height), int(width)


def write_facts(file: Path, facts: Mapping[str, Any]) -> None:
    """Write a JSON file of the folder, whole or not at all."""
    with whole_file(file) as draft:
        draft.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_facts(file: Path) -> dict[str, Any] | None:
    """What a JSON file of the folder says; None where it is not there.

    Raises:
        ValueError: It is damaged, or of a later version of this library.
    """
    if not file.is_file():
        return None
    facts = read_json(file)
    if not isinstance(facts, dict) or not isinstance(facts.get("made_of"), dict):
        raise ValueError(f"{file} says nothing of maps; give the folder that extract_maps wrote.")
    if facts.get("format") != FORMAT:
        raise ValueError(
            f"{file} is of format {facts.get('format')!r}, this version reads {FORMAT}; upgrade hf_guidance, or extract the "
            "maps again into another folder."
        )
    return facts


def _features(maps: npt.NDArray[np.float32]) -> dict[str, Any]:
    return {SAVED_MAP: datasets.Array2D(maps.shape[1:], "float32")}


def _column(maps: npt.NDArray[np.float32]) -> Any:
    """A column of maps for Arrow. Lists of lists made by datasets would go through Python, number by number."""
    kind = datasets.Features(_features(maps)).arrow_schema.field(SAVED_MAP).type
    step = max(1, _MOST_NUMBERS // max(1, maps[0].size if len(maps) else 1))
    parts = [maps[start : start + step] for start in range(0, len(maps), step)]
    return pa.chunked_array([pa.ExtensionArray.from_storage(kind, _lists(part)) for part in parts], kind)


def _lists(maps: npt.NDArray[np.float32]) -> Any:
    count, height, width = maps.shape
    lines = np.arange(0, count * height * width + 1, width, dtype=np.int32)
    tops = np.arange(0, count * height + 1, height, dtype=np.int32)
    return pa.ListArray.from_arrays(tops, pa.ListArray.from_arrays(lines, pa.array(maps.reshape(-1), pa.float32())))


def files_of(folder: Path) -> list[Path]:
    """The files that extract_maps wrote into a folder, the lists first."""
    return [folder / FINISHED, folder / UNFINISHED, *sorted(folder.glob("maps-?????-of-?????.arrow"))]
