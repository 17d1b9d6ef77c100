"""The data of a task, by the options that name it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hf_guidance.apps.cli.application import given_by, refuse
from hf_guidance.data import load_splits
from hf_guidance.data.splits import check_options


def splits_named(dataset: str, splits: Iterable[str], data_dir: str | None = None, builder_config: str = "{}") -> Any:
    """Load a dataset, and check that it has the splits that are asked for.

    Args:
        dataset: Name of a builder, a folder, or a Hub id.
        splits: The names of the splits.
        data_dir: Raw files of the builder.
        builder_config: JSON with options of the builder.

    Returns:
        Name of a split to its dataset, all splits.

    Raises:
        typer.BadParameter: A split or an option that it does not have, or would not use.
        ValueError: Data that cannot be read.
    """
    config = json.loads(builder_config)
    with given_by("--dataset"):
        check_options(dataset, data_dir=data_dir, builder_config=config)
    found = load_splits(dataset, data_dir=data_dir, builder_config=config)
    missing = sorted(set(splits) - set(found))
    if missing:
        refuse(f"{dataset} has no split {missing[0]!r}; it has {sorted(found)}.")
    return found
