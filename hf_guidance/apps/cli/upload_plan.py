"""What of a folder is published: the files of a whole checkpoint, without what is nobody's business or of no use."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LEFT_OUT = {
    ".*": "hidden file or draft",
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
"""Pattern of a file's name to why it is left out; the first that fits counts."""

_FOLDERS_LEFT_OUT = {
    "checkpoint-*": "an earlier state of the training",
    "runs": "logs of the training",
    "pareto": "other models",
    "_*": "draft of a push",
    "__pycache__": "compiled code",
    ".*": "hidden folder",
}
_SECRETS = {
    "a token of the Hub": re.compile(rb"\b(?:hf_|api_org_)[A-Za-z0-9]{30,}"),
    "a token of GitHub": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36}"),
    "a key of AWS": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_WEIGHTS = ".safetensors"


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
        ValueError: No folder; no configuration or no weights; weights that are cut short; a token in a file.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; give a checkpoint, or the output_dir of a training.")
    files: dict[str, int] = {}
    left_out: dict[str, tuple[int, str]] = {}
    _sort(folder, folder, files, left_out)
    _check_whole(folder, files)
    for name in files:
        _refuse_secrets(folder / name, name)
    return UploadPlan(folder, dict(sorted(files.items())), dict(sorted(left_out.items())))


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1000:
        return f"{size} B"
    unit, factor = next((unit for unit in (("kB", 1e3), ("MB", 1e6)) if size < 1000 * unit[1]), ("GB", 1e9))
    return f"{size / factor:.1f} {unit}"


def _sort(root: Path, folder: Path, files: dict[str, int], left_out: dict[str, tuple[int, str]]) -> None:
    for path in sorted(folder.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            left_out[name] = (0, "a link to another place")
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


def _reason(name: str, patterns: Mapping[str, str]) -> str | None:
    return next((why for pattern, why in patterns.items() if fnmatch.fnmatch(name, pattern)), None)


def _check_whole(folder: Path, files: Mapping[str, int]) -> None:
    adapter = "adapter_config.json" in files
    stem, config = ("adapter_model", "adapter_config.json") if adapter else ("model", "config.json")
    if config not in files:
        inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise ValueError(
            f"{folder} has no config.json, so it is no model"
            + (f"; give one of its folders, as {folder / inside[-1]}." if inside else ".")
        )
    index = f"{stem}{_WEIGHTS}.index.json"
    if index in files:
        shards = sorted(set(json.loads((folder / index).read_text("utf-8"))["weight_map"].values()))
    elif f"{stem}{_WEIGHTS}" in files:
        shards = [f"{stem}{_WEIGHTS}"]
    else:
        pickles = sorted(path.name for path in folder.glob("*.bin") if path.name != "training_args.bin")
        raise ValueError(
            f"{folder} has no weights ({stem}{_WEIGHTS})"
            + (
                f", only {', '.join(pickles)}, which are pickles: load and save the model once more, by save_pretrained."
                if pickles
                else "; was the training cut off before it saved them?"
            )
        )
    for shard in shards:
        if shard not in files:
            raise ValueError(f"{folder} lacks {shard}, which {index} names: the checkpoint is not whole.")
        _check_tensors(folder / shard)


def _check_tensors(file: Path) -> None:
    """The head of a safetensors file says how long the file is."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            head = json.loads(opened.read(min(length, 100_000_000)))
            ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is no safetensors file: its head cannot be read.") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ValueError(f"{file} has {size} bytes, and its head tells of {expected}: it is not whole. Save it anew.")


def _refuse_secrets(file: Path, name: str) -> None:
    if file.suffix == _WEIGHTS:
        with file.open("rb") as opened:  # only its head holds text
            content = opened.read(min(8 + int.from_bytes(opened.read(8), "little"), 100_000_000))
    else:
        content = file.read_bytes()
    for kind, pattern in _SECRETS.items():
        if pattern.search(content):
            raise ValueError(f"{name} holds {kind}: take it out, and withdraw it, for others may have seen it.")
