"""A dataset in its published form: Parquet files and a card."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from hf_guidance.common.card_text import code, escaped, one_line, table
from hf_guidance.common.cards import filled_card
from hf_guidance.common.processes import forks_end_with_this_process
from hf_guidance.common.whole_file import whole_folder


def export_dataset(
    builder: datasets.DatasetBuilder,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    num_proc: int | None = None,
    max_shard_size: int | str = "500MB",
) -> Path:
    """Write a dataset in its published form: Parquet files with embedded images, and a README.md.

    The folder appears complete or not at all. `datasets.load_dataset(folder)` reads it, streaming too, and
    `huggingface_hub.upload_folder` publishes it.

    Args:
        builder: any builder; it need not be prepared, and is not changed.
        folder: where to write.
        overwrite: replace a folder that is not empty.
        num_proc: number of processes; they end with this one, however it ends.
        max_shard_size: size of one Parquet file before compression.

    Returns:
        The folder.

    Raises:
        ValueError: when the folder is not empty and `overwrite` is False.

    Example:
        >>> export_dataset(dataset_builder("digits_on_photos"), "digits")
        >>> datasets.load_dataset("digits", split="train", streaming=True)
    """
    target = Path(folder).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwrite:
        raise ValueError(f"folder: {target} is not empty; pass overwrite=True or another folder.")
    with whole_folder(target) as draft, forks_end_with_this_process():
        writer = deepcopy(builder)  # a copy, because preparing changes where a builder looks for its data
        raw = draft.parent / "raw"
        writer.download_and_prepare(str(raw), file_format="parquet", num_proc=num_proc, max_shard_size=max_shard_size)
        (draft / "data").mkdir()
        for split in writer.info.splits:
            files = sorted(raw.glob(f"{writer.dataset_name}-{split}*.parquet"))
            files = [
                file for file in files if file.stem.removeprefix(f"{writer.dataset_name}-{split}")[:1] in ("", "-")
            ]
            for index, file in enumerate(files):
                file.rename(draft / "data" / f"{split}-{index:05d}-of-{len(files):05d}.parquet")
        (draft / "README.md").write_text(_card(writer), encoding="utf-8")
    return target


def _card(builder: Any) -> str:
    """The dataset card: yaml that `load_dataset` reads, the columns, the splits, and what was left out."""
    info = builder.info
    files = [{"split": str(split), "path": f"data/{split}-*"} for split in info.splits]
    card_data = DatasetCardData(
        license=info.license or "unknown",
        tags=["attribution-guidance", "hf_guidance"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    published = info.copy()
    published.config_name = "default"
    DatasetInfosDict({"default": published}).to_dataset_card_data(card_data)
    report = getattr(builder, "report", {})
    return filled_card(
        DatasetCard,
        "dataset.md",
        card_data,
        title=escaped(builder.dataset_name),
        description=info.description.strip(),
        builder=code(builder.name),
        citation=info.citation.strip().replace("```", ""),
        homepage=one_line(info.homepage),
        columns=table(("column", "feature"), [(escaped(name), code(kind)) for name, kind in info.features.items()]),
        splits=table(
            ("split", "rows"), [(escaped(split), str(info.splits[split].num_examples)) for split in info.splits]
        ),
        left_out=[f"{entry['count']} x {escaped(reason)}" for reason, entry in report.items()],
        licence=escaped(info.license or ""),
    )
