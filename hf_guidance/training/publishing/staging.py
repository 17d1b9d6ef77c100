"""A folder with the files of a push, which stays as it is while training goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

from hf_guidance.common.hub import files_of
from hf_guidance.common.weight_files import ADAPTER_CONFIG, base_of, is_same_place, left_over

PREFIX = "_pushing-"
_FOR_RESUMING = (
    "optimizer*", "scheduler*", "scaler*", "rng_state*", "trainer_state.json", "global_step*", "latest", "zero_to_fp32.py",
    "pytorch_model_fsdp*",
)  # fmt: skip


def staged(root: Path, checkpoint: Path, within: str | None, ignore: Iterable[str]) -> Path:
    """Make a folder of what a checkpoint's push holds.

    Weights are linked, not copied, where the file system can: deleting the checkpoint leaves the link. Logs, which grow, are
    copied.

    Args:
        root: The output folder of the run, which gives what is in no checkpoint, such as logs.
        checkpoint: The checkpoint, which gives the model.
        within: Folder of the repo for the whole checkpoint, with what resuming needs; None leaves that out.
        ignore: Patterns of paths in the output folder to leave out.

    Returns:
        The folder, in the output folder; delete it after the push.
    """
    folder = root / f"{PREFIX}{checkpoint.name}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for path, file in files_of(checkpoint).items():
            if not any(fnmatch(path, pattern) for pattern in _FOR_RESUMING):
                _link(file, folder / path)
            if within is not None:
                _link(file, folder / within / path)
        others = _files(root, ignore)
        config = folder / ADAPTER_CONFIG
        on_own_base = config.is_file() and is_same_place(base_of(config.read_bytes()), root)
        of_before = left_over(others, files_of(folder), on_own_base)  # of a run that had this output folder before
        for path, file in others.items():
            if path not in of_before and not (folder / path).exists():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _files(root: Path, ignore: Iterable[str]) -> dict[str, Path]:
    try:
        return files_of(root, ignore)
    except ValueError:  # nothing is there but checkpoints
        return {}


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(file), target)
    except OSError:  # another file system, or one without links
        shutil.copy(file, target)
