"""What a module holds as plain data, in a form that can be compared and hashed."""

from __future__ import annotations

import functools
import types
from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

_SCALARS = frozenset((bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, slice, range))
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, type)
# Weights, buffers and parts are told apart elsewhere; `training` is the one number of nn.Module itself.
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}
_NAMES = ("id2label", "label2id")  # of configs: thousands of texts, which no step reads
_DEEPEST = 12  # a list may hold itself


class Held:
    """Compares what objects hold, for one key; a config that many modules share is read once.

    Plain data is compared by value: numbers, texts, dtypes, enums, NumPy's scalars and arrays, and tuples, lists, sets and
    mappings of them. So are the attributes of configs of transformers, of dataclasses and of SimpleNamespaces. Functions and
    classes are compared by identity, tensors by their form, and those of integers by identity and their count of writes, too.
    Of any other object the class counts, and not what it holds: an object that every step makes anew would make every step a
    new kind. The names of labels in configs are left out.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, Any]] = {}

    def of_module(self, part: nn.Module) -> Hashable:
        """The class of a module, its own attributes and the ids of its hooks, without its weights, buffers and parts."""
        own = vars(part)
        names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        hooks = tuple(tuple(own[name]) for name in names if own.get(name))
        config = own.get("config")
        held = [(name, self.of(value)) for name, value in own.items() if name not in _OF_EVERY_MODULE]
        if hasattr(config, "__dict__") and not isinstance(config, nn.Module | PretrainedConfig):
            held.append(("config", self._of_object(config)))
        return type(part), tuple(held), hooks

    def of(self, value: Any, depth: int = 0) -> Hashable:
        """Equal for two values only if Python code that reads plain data decides alike by both."""
        kind = type(value)
        if kind in _SCALARS:
            return (kind, value) if kind is not slice else (slice, value.start, value.stop, value.step)
        if kind in _FUNCTIONS or isinstance(value, _FUNCTIONS):
            return value  # type: ignore[no-any-return]
        inside = self._inside(value, depth + 1) if depth < _DEEPEST else ()
        return (kind, *inside)

    def _inside(self, value: Any, depth: int) -> Iterator[Hashable]:
        if isinstance(value, Tensor):
            yield form(value)
            if not (value.is_floating_point() or value.is_complex() or value.is_inference()):
                yield _Same(value), value._version  # an index may be a constant of the graph
        elif isinstance(value, Mapping):
            yield from [(self.of(name, depth), self.of(inner, depth)) for name, inner in value.items()]
        elif isinstance(value, list | tuple):
            yield from [self.of(inner, depth) for inner in value]
        elif isinstance(value, AbstractSet):
            yield frozenset(self.of(inner, depth) for inner in value)
        elif isinstance(value, Enum):
            yield value.name
        elif isinstance(value, np.ndarray | np.generic):
            yield value.shape, str(value.dtype), value.tobytes()
        elif isinstance(value, functools.partial):
            yield self.of((value.func, value.args, value.keywords), depth)
        elif isinstance(value, types.MethodType):
            yield value.__func__
        elif isinstance(value, int | float | str):
            yield value
        elif isinstance(value, PretrainedConfig | types.SimpleNamespace) or is_dataclass(value):
            yield self._of_object(value, depth)

    def _of_object(self, value: Any, depth: int = 0) -> Hashable:
        number, found = self._known.get(id(value), (-1, None))
        if found is None:
            number = len(self._known)
            self._known[id(value)] = number, value
            own = vars(value) if hasattr(value, "__dict__") else {f.name: getattr(value, f.name) for f in fields(value)}
            return number, tuple((name, self.of(inner, depth)) for name, inner in own.items() if name not in _NAMES)
        return number


class _Same:
    """Equals itself, and another of the same object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def form(tensor: Tensor) -> Hashable:
    """Class, shape, strides, dtype and device of a tensor, and whether it requires a gradient."""
    strides = tensor.stride() if tensor.layout == torch.strided else None
    return type(tensor), tuple(tensor.shape), strides, tensor.dtype, tensor.device, tensor.requires_grad
