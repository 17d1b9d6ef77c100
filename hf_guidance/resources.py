"""The metrics and dataset builders that travel with the package: finding, loading and publishing them."""

import copyreg
import dataclasses
import importlib
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

__all__ = ["dataset_builder", "export_dataset", "known_datasets", "metric_path"]

_SCRIPTS = "hf_guidance.dataset_scripts"


def _find(kind: str, name: str) -> Path:
    """The folder `<kind>/<name>`, in the package (installed from a wheel) or beside it (a checkout)."""
    known = _known(kind)
    if name not in known:
        raise ValueError(f"{kind}: got {name!r}; allowed: {', '.join(sorted(known)) or 'none found'}.")
    return known[name]


def _known(kind: str) -> dict[str, Path]:
    package = Path(__file__).resolve().parent
    roots = [package / kind, package.parent / kind]
    return {folder.name: folder for root in reversed(roots) for folder in root.glob("*") if _script(folder).is_file()}


def known_datasets() -> list[str]:
    """Names that `dataset_builder` takes, sorted."""
    return sorted(_known("dataset_scripts"))


def _script(folder: Path) -> Path:
    return folder / f"{folder.name}.py"


def metric_path(name: str) -> str:
    """The folder of a metric, for `evaluate.load`.

    Args:
        name: name of a metric of this library.

    Returns:
        The path of the folder that holds `<name>.py`.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.

    Example:
        >>> epg = evaluate.load(hf_guidance.metric_path("epg"))
    """
    return str(_find("metrics", name))


def dataset_builder(name: str, **kwargs: Any) -> datasets.DatasetBuilder:
    """A builder of this library.

    Args:
        name: name of a dataset builder of this library.
        kwargs: `cache_dir` and the like, and the options in the builder's README, such as `data_dir`.

    Returns:
        The builder: `download_and_prepare()`, `as_dataset()` and `as_streaming_dataset()` as in `datasets`.

    Raises:
        ValueError: for an unknown name or option; the message lists the known ones.

    Example:
        >>> builder = dataset_builder("pascal_voc", data_dir="VOCdevkit/VOC2007")
        >>> builder.download_and_prepare()
        >>> train = builder.as_dataset("train")
    """
    builder_class = _builder_class(name)
    options = {field.name for field in dataclasses.fields(builder_class.BUILDER_CONFIG_CLASS)} - {"name", "description"}
    general = set(inspect.signature(datasets.DatasetBuilder.__init__).parameters) - {"self", "config_kwargs"}
    unknown = sorted(set(kwargs) - options - general)
    if unknown:
        raise ValueError(f"{name}: unknown option {', '.join(unknown)}; allowed: {', '.join(sorted(options))}.")
    return builder_class(**kwargs)


def _builder_class(name: str) -> Any:
    """The one builder class of a script, imported under a stable name, so that `datasets` can pickle and hash it."""
    folder = _find("dataset_scripts", name)
    package = sys.modules.setdefault(_SCRIPTS, ModuleType(_SCRIPTS))
    package.__path__ = [str(folder.parent)]  # in a checkout the scripts lie outside of the package
    module = importlib.import_module(f"{_SCRIPTS}.{name}.{name}")
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, datasets.DatasetBuilder)
        and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"{_script(folder)}: {len(found)} DatasetBuilder classes; allowed: exactly one.")
    copyreg.pickle(found[0], _reduce)  # type: ignore[arg-type]
    return found[0]


def _reduce(builder: Any) -> tuple[Any, tuple[str], dict[str, Any]]:
    """A process that has not loaded the script (a spawned worker) loads it before it unpickles the builder's state."""
    return _blank, (type(builder).__module__.rpartition(".")[2],), dict(builder.__getstate__())


def _blank(name: str) -> Any:
    builder_class = _builder_class(name)
    return builder_class.__new__(builder_class)


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
        builder: any builder; it need not be prepared, and is left as it is.
        folder: where to write.
        overwrite: replace a folder that is not empty.
        num_proc: number of processes.
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
    with _whole_folder(target) as draft:
        writer = deepcopy(builder)  # preparing changes where a builder looks for its data
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


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A draft folder that takes the target's place when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    draft, before = workplace / "draft", workplace / "before"
    draft.mkdir()
    try:
        yield draft
        if target.exists():
            target.rename(before)
        try:
            draft.rename(target)
        except OSError:
            if before.exists():
                before.rename(target)
            raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _card(builder: Any) -> str:
    """The dataset card: yaml that `load_dataset` reads, the columns, the splits, and what was left out."""
    info = builder.info
    files = [{"split": split, "path": f"data/{split}-*"} for split in info.splits]
    card_data = DatasetCardData(
        license=info.license or "unknown",
        tags=["attribution-guidance", "hf_guidance"],
        configs=[{"config_name": "default", "data_files": files}],
    )
    published = info.copy()
    published.config_name = "default"
    DatasetInfosDict({"default": published}).to_dataset_card_data(card_data)
    columns = "\n".join(f"| {name} | `{feature}` |" for name, feature in info.features.items())
    splits = "\n".join(f"| {split} | {info.splits[split].num_examples} |" for split in info.splits)
    report = getattr(builder, "report", {})
    left_out = "\n".join(f"- {entry['count']} x {reason}" for reason, entry in report.items()) or "- nothing"
    body = (
        f"# {builder.dataset_name}\n\n{info.description}\n\nWritten by the `{builder.name}` builder of hf_guidance; "
        f"its README explains the columns.\n\n## Columns\n| column | feature |\n|---|---|\n{columns}\n\n"
        f"## Splits\n| split | rows |\n|---|---|\n{splits}\n\n"
        f"## Left out or repaired\n{left_out}\n\n"
        "## Licence\n"
        f"{info.license or 'Not stated by the builder: the licence of the raw data applies. Name it here.'}\n"
    )
    return str(DatasetCard(f"---\n{card_data.to_yaml()}\n---\n\n{body}"))
