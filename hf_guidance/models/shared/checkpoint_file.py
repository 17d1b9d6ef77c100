"""Checkpoint files of other code, read without running any code that is in them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CODES = "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]


def read_checkpoint(source: str | os.PathLike[str] | Mapping[str, Any]) -> Any:
    """Read a file that ``torch.save`` wrote, with tensors on the CPU; a mapping is returned unchanged.

    Training scripts also leave numpy numbers (the best score) and ``argparse.Namespace`` (the options) in their checkpoints.
    Both are plain data and are read, too, beside what ``torch.load(weights_only=True)`` allows.

    Args:
        source: Path of the file, or its content.

    Raises:
        ValueError: The file holds anything else, such as a whole model; the message names it, and how to take the state dict
            out. Or the file is cut off, was not written by ``torch.save``, or is a folder.

    Example:
        >>> read_checkpoint("xfixup_resnet50_model_best.pth.tar")["state_dict"]
    """
    if isinstance(source, Mapping):
        return source
    known = set(torch.serialization.get_safe_globals())  # what the caller allowed must stay allowed afterwards
    try:
        with torch.serialization.safe_globals([entry for entry in _plain_data() if entry not in known]):
            return torch.load(source, map_location="cpu", weights_only=True)
    except IsADirectoryError:
        raise ValueError(f"{os.fspath(source)} is a folder; give the file in it that torch.save wrote.") from None
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # its type depends on where the file breaks off or what else it is
        if not isinstance(error, UnpicklingError) or not _begins_as_pickle(source):
            raise ValueError(
                f"{os.fspath(source)} is not a complete torch.save file ({_first_line(error)}); it may be cut off, or be "
                "something else, such as a text, a web page or a safetensors file: fetch it again."
            ) from error
        found = re.search(r"GLOBAL (\S+)|got (<class \S+)", str(error))
        reason = (found.group(1) or found.group(2)) if found else "other objects than weights"
        raise ValueError(
            f"{os.fspath(source)} cannot be read as plain data ({reason}): reading it "
            "whole could run code that is in it. If you trust it, take its state dict out, for example by "
            "torch.save(torch.load(path, weights_only=False)['state_dict'], 'weights.pth'), and give that file."
        ) from None


def check_model(model: Any, kind: type, loader: str) -> None:
    """Refuse models that a loader does not know.

    Args:
        model: What is given.
        kind: The class that the loader fills.
        loader: Name of the loader.

    Raises:
        ValueError: ``model`` is of another class; names both.
    """
    if not isinstance(model, kind):
        raise ValueError(
            f"{loader} fills a {kind.__name__}; a {type(model).__name__} is given. Build a {kind.__name__} (a wrapped model is "
            "at .module), or use the loader for the model given."
        )


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Refuse the weights of a training that broke down.

    Raises:
        ValueError: A tensor holds NaN or infinite values; the message names the first.
    """
    for name, value in state.items():
        if not value.is_meta and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name} holds NaN or infinite values, which would make every logit NaN or infinite; take a checkpoint from "
                "before the training broke down, or fetch the file again."
            )


def _begins_as_pickle(source: str | os.PathLike[str]) -> bool:
    with open(source, "rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else "it is empty"
    if isinstance(error, UnpicklingError):
        return "it does not begin like a torch.save file"
    return text if isinstance(error, (RuntimeError, EOFError, OSError)) else f"{type(error).__name__}: {text}"


def _plain_data() -> list[Any]:
    scalar = np.float64(0).__reduce__()[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]  # of numpy 1 and 2
    return [argparse.Namespace, (_dtype, "numpy.dtype"), *scalars, *{type(np.dtype(code)) for code in _CODES}]


def _dtype(code: str, *_: Any) -> np.dtype[Any]:
    # Always a copy: unpickling then sets the state of the dtype, which would change numpy's shared object.
    return np.dtype(str(code), copy=True)  # type: ignore[call-overload,no-any-return]
