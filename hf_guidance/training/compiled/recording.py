"""A function as a graph of operations, and what a graph would fix though it changes from step to step: refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

# torch.tensor([...]) inside of the function: its numbers are compared with those of the second recording.
_FRESH = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.lift_fresh.default)


def recorded(function: Callable[..., Any], inputs: list[Tensor]) -> tuple[GraphModule, list[tuple[Tensor, int]]]:
    """Record the operations of a function, twice: a number that differs was drawn or counted in Python.

    Args:
        function: Takes tensors and gives tensors.
        inputs: Examples; they are not read.

    Returns:
        The graph, and the integer tensors from elsewhere that are constants in it, each with its count of writes.

    Raises:
        RuntimeError: Python code draws random numbers or counts, or a tensor of floating-point numbers is from elsewhere.
    """
    before = _host_generators()
    graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    again = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    if _host_generators() != before:
        raise RuntimeError(
            "random numbers are drawn in Python, by random or NumPy; they would be the same in every step"
        )
    _refuse_changing(graph, again)
    held = []
    for name, constant in _from_elsewhere(graph):
        if constant.is_floating_point() or constant.is_complex():
            raise RuntimeError(
                f"a tensor of shape {tuple(constant.shape)} and dtype {constant.dtype} is neither of the batch nor a weight or "
                f"buffer of the model ({name}): its numbers would be fixed; make it a buffer"
            )
        held.append((constant, written(constant)))
    return graph, held


def written(constant: Tensor) -> int:
    """How often a tensor was written."""
    return 0 if constant.is_inference() else constant._version


def _refuse_changing(graph: GraphModule, again: GraphModule) -> None:
    for one, two in zip_longest(graph.code.splitlines(), again.code.splitlines(), fillvalue=""):
        if one != two:
            raise RuntimeError(
                f"the step does other things when it runs again ({one.strip()[:90]!r}, then {two.strip()[:90]!r}): Python "
                "code draws from a generator of its own, or counts, and a graph would fix it; draw by torch, and keep counters "
                "in buffers"
            )
    for (name, one), (_, two) in zip(_constants(graph), _constants(again), strict=True):
        same = torch.equal(one, two) if isinstance(one, Tensor) and isinstance(two, Tensor) else one is two
        if not same:
            raise RuntimeError(
                f"the step makes a tensor of other numbers when it runs again ({name}): Python code draws from a generator of "
                "its own, or counts, and a graph would fix it; draw by torch, and keep counters in buffers"
            )


def _constants(graph: GraphModule) -> Iterator[tuple[str, Any]]:
    for node in graph.graph.find_nodes(op="get_attr"):
        yield str(node.target), getattr(graph, str(node.target))


def _from_elsewhere(graph: GraphModule) -> Iterator[tuple[str, Tensor]]:
    for node in graph.graph.find_nodes(op="get_attr"):
        constant = getattr(graph, str(node.target))
        if isinstance(constant, Tensor) and any(user.target not in _FRESH for user in node.users):
            yield str(node.target), constant


def _host_generators() -> Any:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
