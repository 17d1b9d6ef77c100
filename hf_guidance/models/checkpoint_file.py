"""Checkpoints of others, read without running anything of theirs."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

_CODES = "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]


def read_checkpoint(source: str | os.PathLike[str] | Mapping[str, Any]) -> Any:
    """What a file holds that was written by ``torch.save``, tensors on the CPU; a mapping is given back as it is.

    Beside what ``torch.load(weights_only=True)`` reads, training scripts leave numpy numbers (the best score) and
    ``argparse.Namespace`` (the options) in their checkpoints. Both are plain data, and are read too.

    Args:
        source: Path of the file, or what is in it.

    Raises:
        ValueError: The file holds anything else, such as a whole model; names it, and how to take the state dict out. Or it
            is cut off.

    Example:
        >>> read_checkpoint("xfixup_resnet50_model_best.pth.tar")["state_dict"]
    """
    if isinstance(source, Mapping):
        return source
    known = set(torch.serialization.get_safe_globals())  # what the caller allowed must stay allowed behind the block
    try:
        with torch.serialization.safe_globals([entry for entry in _plain_data() if entry not in known]):
            return torch.load(source, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|got (<class \S+)", str(error))
        reason = (found.group(1) or found.group(2)) if found else "other objects than weights"
        raise ValueError(
            f"{os.fspath(source)} cannot be read as plain data ({reason}): reading it "
            "whole could run code that is in it. If you trust it, take its state dict out, for example by "
            "torch.save(torch.load(path, weights_only=False)['state_dict'], 'weights.pth'), and give that file."
        ) from None
    except (RuntimeError, EOFError) as error:
        reason = (str(error) or "it is empty").splitlines()[0]
        raise ValueError(
            f"{os.fspath(source)} is no whole file of torch.save ({reason}); it may be cut off: fetch it again."
        ) from error


def _plain_data() -> list[Any]:
    scalar = np.float64(0).__reduce__()[0]
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]  # of numpy 1 and 2
    return [argparse.Namespace, (_dtype, "numpy.dtype"), *scalars, *{type(np.dtype(code)) for code in _CODES}]


def _dtype(code: str, *_: Any) -> np.dtype[Any]:
    # Always a copy: the state that follows would change numpy's own.
    return np.dtype(str(code), copy=True)  # type: ignore[call-overload,no-any-return]
