"""The splits of a dataset by its name, whether a builder of this library makes it or ``datasets.load_dataset`` does."""

from collections.abc import Mapping
from typing import Any

import datasets

from hf_guidance.data.builders import check_builder_options, dataset_builder, known_datasets, reads_raw_files


def load_splits(
    dataset: str, *, data_dir: str | None = None, builder_config: Mapping[str, Any] | None = None
) -> datasets.DatasetDict:
    """Load all splits of a dataset.

    Args:
        dataset: Name of a builder of this library; or else what ``datasets.load_dataset`` takes: a folder or a Hub id.
        data_dir: Raw files of the builder; refused for a builder that reads none, a folder or a Hub id.
        builder_config: More options of the builder, by name; refused for a folder or a Hub id.

    Returns:
        Name of a split to its dataset.

    Raises:
        ValueError: An option that the builder does not have, raw files that it cannot read, or an option of a builder for a
            dataset of another kind.

    Example:
        >>> splits = load_splits("pascal_voc", data_dir="VOCdevkit/VOC2007")
        >>> train = splits["train"]
    """
    check_options(dataset, data_dir=data_dir, builder_config=builder_config)
    if dataset not in known_datasets():
        return datasets.load_dataset(dataset)
    options = dict(builder_config or {}) | ({"data_dir": data_dir} if data_dir else {})
    builder = dataset_builder(dataset, **options)
    builder.download_and_prepare()
    return builder.as_dataset()


def check_options(
    dataset: str, *, data_dir: str | None = None, builder_config: Mapping[str, Any] | None = None
) -> None:
    """Refuse options that a dataset does not have, or would not use; nothing is read.

    Args:
        dataset: As for ``load_splits``.
        data_dir: As for ``load_splits``.
        builder_config: As for ``load_splits``.

    Raises:
        ValueError: There is one; the message names it.
    """
    if dataset in known_datasets():
        check_builder_options(dataset, builder_config or {})
        if data_dir and not reads_raw_files(dataset):
            raise ValueError(f"{dataset} reads no raw files, so data_dir={data_dir!r} would not be used; leave it out.")
        return
    given = {"data_dir": data_dir, "builder_config": builder_config}
    unused = [f"{name}={value!r}" for name, value in given.items() if value]
    if unused:
        raise ValueError(
            f"{dataset} is no builder of this library ({', '.join(known_datasets())}), so {' and '.join(unused)} would not "
            "be used; leave it out, or give the builder's name as dataset."
        )
