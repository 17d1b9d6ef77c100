"""What of a folder is published: the files of a whole checkpoint, without what is nobody's business or of no use."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hf_guidance.apps.cli.application import check_utf8
from hf_guidance.apps.cli.upload_checks import check_documents, check_whole, refuse_keys

_KEY = "may hold passwords or keys"
_LEFT_OUT = {
    ".*": "hidden file or draft",
    "*.env": _KEY,
    "*.pem": _KEY,
    "*.key": _KEY,
    "*.p12": _KEY,
    "*.pfx": _KEY,
    "id_rsa*": _KEY,
    "id_dsa*": _KEY,
    "id_ecdsa*": _KEY,
    "id_ed25519*": _KEY,
    "credentials*": _KEY,
    "kaggle.json": _KEY,
    "*.tmp": "draft",
    "optimizer.*": "state of the training",
    "scheduler.pt": "state of the training",
    "scaler.pt": "state of the training",
    "rng_state*": "state of the training",
    "trainer_state.json": "state of the training",
    "rest.json": "state of the training",
    "training_args.bin": "a pickle that may hold tokens and paths",
    "events.out.tfevents.*": "log",
    "*.log": "log",
    "*.bin": "a pickle",
    "*.pt": "a pickle",
    "*.pth": "a pickle",
    "*.pkl": "a pickle",
    "*.ckpt": "a pickle",
    "*.pyc": "compiled code",
}
"""Pattern of a file's name, in small letters, to why it is left out; the first that fits counts."""

_FOLDERS_LEFT_OUT = {
    "checkpoint-*": "an earlier state of the training",
    "runs": "logs of the training",
    "wandb": "logs of the training, with settings of this machine",
    "mlruns": "logs of the training, with settings of this machine",
    "mlartifacts": "logs of the training",
    "lightning_logs": "logs of the training",
    "trackio": "logs of the training",
    "pareto": "other models",
    "_*": "draft of a push",
    "__pycache__": "compiled code",
    ".*": "hidden folder",
}


@dataclass(frozen=True)
class UploadPlan:
    """What of a folder is published.

    Attributes:
        folder: The folder.
        files: Path in the folder to bytes, of what is published.
        left_out: Path in the folder to bytes and the reason, of what is not; a path that ends in a slash is a folder.
    """

    folder: Path
    files: Mapping[str, int]
    left_out: Mapping[str, tuple[int, str]]

    @property
    def bytes(self) -> int:
        """Of all files that are published."""
        return sum(self.files.values())

    @property
    def has_processor(self) -> bool:
        """Whether the image processor or the tokenizer is among them."""
        return bool({"preprocessor_config.json", "processor_config.json", "tokenizer_config.json"} & self.files.keys())

    def table(self) -> str:
        """The files for people."""
        lines = [f"published, {size_text(self.bytes)} in {len(self.files)} files:"]
        lines += [f"  {size_text(size):>9s}  {name}" for name, size in self.files.items()]
        if self.left_out:
            lines.append("left out:")
            lines += [f"  {size_text(size):>9s}  {name} ({why})" for name, (size, why) in self.left_out.items()]
        return "\n".join(lines)


def upload_plan(folder: Path) -> UploadPlan:
    """Decide what of a folder is published, and check that it is a whole checkpoint without secrets.

    Args:
        folder: A checkpoint, or the output_dir of a training.

    Returns:
        The plan.

    Raises:
        typer.BadParameter: A file whose name is no text.
        ValueError: No folder; no configuration or no weights; weights that are cut short; a token in a file; a configuration, a
            guidance or a card that cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give a checkpoint, or the output_dir of a training.")
    files: dict[str, int] = {}
    left_out: dict[str, tuple[int, str]] = {}
    _sort(folder, folder, files, left_out)
    check_whole(folder, files, left_out)
    keys = [name for name, (_, why) in left_out.items() if why == _KEY]
    refuse_keys({name: folder / name for name in [*files, *keys]})
    check_documents(folder, files)
    return UploadPlan(folder, dict(sorted(files.items())), dict(sorted(left_out.items())))


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1000:
        return f"{size} B"
    unit, factor = next((unit for unit in (("kB", 1e3), ("MB", 1e6)) if size < 1000 * unit[1]), ("GB", 1e9))
    return f"{size / factor:.1f} {unit}"


def _sort(root: Path, folder: Path, files: dict[str, int], left_out: dict[str, tuple[int, str]]) -> None:
    for path in sorted(folder.iterdir()):
        check_utf8(path, "FOLDER")
        name = path.relative_to(root).as_posix()
        if why := _no_file(path, root):
            left_out[name] = (0, why)
        elif path.is_dir():
            why = _reason(path.name, _FOLDERS_LEFT_OUT)
            if why:
                left_out[f"{name}/"] = (sum(f.stat().st_size for f in path.rglob("*") if f.is_file()), why)
            else:
                _sort(root, path, files, left_out)
        elif why := _reason(path.name, _LEFT_OUT):
            left_out[name] = (path.stat().st_size, why)
        else:
            files[name] = path.stat().st_size


def _no_file(path: Path, root: Path) -> str | None:
    """Why something is neither a file nor a folder of the folder that is published; None where it is."""
    if path.is_symlink() and not path.exists():
        return "a link to a file that does not exist"
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return "a link to another place"
    if path.is_symlink() and path.is_dir():
        return "a link to a folder"
    return None if path.is_dir() or path.is_file() else "no file, but a pipe, a socket or a device"


def _reason(name: str, patterns: Mapping[str, str]) -> str | None:
    return next((why for pattern, why in patterns.items() if fnmatch.fnmatchcase(name.lower(), pattern)), None)
