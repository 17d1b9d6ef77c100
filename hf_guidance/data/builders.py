"""The dataset builders shipped with the package: their names, and a builder by name."""

import copyreg
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import datasets

from hf_guidance.common.shipped_folders import script_of, shipped_folder, shipped_folders
from hf_guidance.data.builder_base import AnnotatedImageConfig

__all__ = ["check_builder_options", "dataset_builder", "known_datasets", "reads_raw_files"]

_SCRIPTS = "hf_guidance.dataset_scripts"


def known_datasets() -> list[str]:
    """Names that `dataset_builder` takes, sorted."""
    return sorted(shipped_folders("dataset_scripts"))


def dataset_builder(name: str, **kwargs: Any) -> datasets.DatasetBuilder:
    """Make a dataset builder of this library.

    Args:
        name: one of `known_datasets()`.
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
    check_builder_options(name, kwargs)
    return _builder_class(name)(**kwargs)


def check_builder_options(name: str, given: Iterable[str]) -> None:
    """Refuse options that a builder does not have; nothing is read.

    Args:
        name: one of `known_datasets()`.
        given: names of options.

    Raises:
        ValueError: for an unknown name or option; the message lists the known ones.
    """
    config = _builder_class(name).BUILDER_CONFIG_CLASS
    options = {field.name for field in dataclasses.fields(config)} - {"name", "description"}
    general = set(inspect.signature(datasets.DatasetBuilder.__init__).parameters) - {"self", "config_kwargs"}
    unknown = sorted(set(given) - options - general)
    if unknown:
        raise ValueError(f"{name}: unknown option {', '.join(unknown)}; allowed: {', '.join(sorted(options))}.")


def reads_raw_files(name: str) -> bool:
    """Whether a builder reads files of `data_dir`; others draw what they yield.

    Args:
        name: one of `known_datasets()`.
    """
    config = _builder_class(name).BUILDER_CONFIG_CLASS
    return bool(config.raw_files is not AnnotatedImageConfig.raw_files)


def _builder_class(name: str) -> Any:
    """The one builder class of a script, imported under a stable name, so that `datasets` can pickle and hash it."""
    folder = shipped_folder("dataset_scripts", name)
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
        raise ValueError(f"{script_of(folder)}: {len(found)} DatasetBuilder classes; allowed: exactly one.")
    copyreg.pickle(found[0], _reduce)  # type: ignore[arg-type]
    return found[0]


def _reduce(builder: Any) -> tuple[Any, tuple[str], dict[str, Any]]:
    """Pickle by name: a process that has not loaded the script (a spawned worker) loads it before it unpickles the state."""
    return _blank, (type(builder).__module__.rpartition(".")[2],), dict(builder.__getstate__())


def _blank(name: str) -> Any:
    builder_class = _builder_class(name)
    return builder_class.__new__(builder_class)
