"""Pickled data read without running anything: plain containers, text, bytes, numbers and numpy values only."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np


def safe_load(path: str | os.PathLike[str]) -> Any:
    """Read a pickle file of plain data, as data sets use for id maps.

    Reading a pickle can call any function. Here only those that rebuild plain containers, bytes, numpy
    scalars and arrays can be called. An OrderedDict or defaultdict is read as a dict.

    Args:
        path: The file. Pickles of Python 2 are read as Latin-1.

    Returns:
        Lists, tuples, sets and dicts of text, bytes, numbers, None, numpy scalars and arrays.

    Raises:
        ValueError: The file holds anything else, is not a pickle, or is cut short.

    Example:
        >>> rows = safe_load("train36_imgid2img.pkl")
    """
    return safe_loads(Path(path).read_bytes(), str(path))


def safe_loads(content: bytes, name: str) -> Any:
    """As `safe_load`, from bytes; ``name`` says in errors where they come from."""
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except _Refused as error:
        raise ValueError(
            f"{name} holds {error}; allowed are containers, text, bytes, numbers and numpy values. Write it again as JSON."
        ) from None
    except Exception as error:  # a broken pickle raises whatever its bytes happen to mean
        raise ValueError(f"{name} is not a complete pickle ({error!r}); copy or write it again.") from None


class _Refused(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise _Refused(f"{module}.{name}")


def _scalar(dtype: Any, value: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biufSU" or not isinstance(value, bytes):
        raise _Refused(f"a numpy scalar of {dtype}")
    return np.frombuffer(value, dtype, count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding.replace("-", "").replace("_", "").lower() != "latin1":
        raise _Refused(f"text encoded as {encoding}")
    return text.encode("latin1")


def _dtype(code: str, *_: Any) -> np.dtype[Any]:
    return np.dtype(str(code), copy=True)  # type: ignore[call-overload,no-any-return]


def _array(kind: Any, shape: Any, *_: Any) -> Any:
    return np.ndarray((0,), np.int8)  # the content follows as the state of the array


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> Any:
    return np.ndarray(shape, dtype, bytes(buffer), order="F" if order == "F" else "C")


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


def _with_default(*_: Any) -> dict[Any, Any]:
    return {}  # the entries follow; what a missing key would give is code, and left out


# Containers that pickles name by their constructors: by which, depends on the protocol.
_CONTAINERS: dict[str, Any] = {
    "set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytearray, "list": list, "dict": dict, "int": int,
    "long": int, "float": float, "str": str,
}  # fmt: skip
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in _CONTAINERS.items()},
    ("collections", "OrderedDict"): _ordered,
    ("collections", "defaultdict"): _with_default,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy", "ndarray"): "ndarray",  # the `kind` of _array; a string, so that it cannot be called
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
