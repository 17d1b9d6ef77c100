"""From a formula on flat tensors to one kernel, compiled once for all sizes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

Kernel = Callable[..., Sequence[Tensor]]

_logger = logging.getLogger(__name__)
_TYPICAL = {"numbers": 1 << 17, "rows": 1024, "features": 192}  # what the compiler is told to expect
_OTHERS = {"numbers": 1003, "rows": 37, "features": 41}  # at which what it made is checked, too
_LARGEST = 2**31 - 1  # a kernel for a GPU may count in 32 bits


@dataclass(frozen=True)
class Formula:
    """A formula that is to be compiled.

    Attributes:
        name: What it computes, for messages.
        compute: Of contiguous tensors, a tuple of tensors.
        sizes: For every tensor the names of its sizes: "numbers", "rows", "features", or "1".
    """

    name: str
    compute: Callable[..., tuple[Tensor, ...]]
    sizes: tuple[tuple[str, ...], ...]

    def examples(self, like: Sequence[Tensor], sizes: dict[str, int]) -> list[Tensor]:
        """Tensors of some sizes, of the dtypes and device of others, drawn from no generator."""
        made = []
        for number, (tensor, names) in enumerate(zip(like, self.sizes, strict=True)):
            shape = [sizes.get(name, 1) for name in names]
            angle = torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * (1 + 0.1 * number)
            made.append(angle.sin().add(0.1).reshape(shape).to(tensor.device, tensor.dtype))
        return made


class _State:
    """What this process has compiled. ``failed`` is the reason why it compiles no more."""

    def __init__(self) -> None:
        self.kernels: dict[Any, Kernel] = {}
        self.failed: str | None = None
        self.told = False
        self.lock = threading.Lock()

    def renew_lock(self) -> None:
        """In a copy of this process the thread that holds the lock may not exist."""
        self.lock = threading.Lock()


_state = _State()
if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=lambda: _state.renew_lock())


def kernel_of(formula: Formula, like: Sequence[Tensor]) -> Kernel | None:
    """The kernel of a formula for tensors of some dtypes on a device, compiled when it is first asked for.

    One kernel serves all sizes from 2 on, in any thread: nothing is compiled again for another batch, and the limits of
    torch.compile on recompiling do not exist here, since its tracer of Python code takes no part. On a CPU the kernel is
    made for the number of threads at hand.

    Args:
        formula: What to compile.
        like: Tensors of the dtypes and the device.

    Returns:
        A function as ``formula.compute``. None where there is no compiler, compiling fails, or what was compiled computes
        something else; a warning gives the reason once, and this process tries no more.
    """
    if _state.failed is not None:
        return None
    device = like[0].device
    key = (formula, device, torch.get_num_threads() if device.type == "cpu" else 0, *(tensor.dtype for tensor in like))
    if key not in _state.kernels:
        with _state.lock:
            if key not in _state.kernels and _state.failed is None:
                _compile_into(key, formula, like)
    return _state.kernels.get(key)


def can_run(*sizes: int) -> bool:
    """Whether kernels are valid for these sizes: a compiler takes sizes of 0 and 1 for something else."""
    return min(sizes) > 1 and max(sizes) <= _LARGEST


def _compile_into(key: Any, formula: Formula, like: Sequence[Tensor]) -> None:
    if not _state.told:
        _logger.warning(
            "compiling fused kernels, which takes up to a minute; each is kept for later runs on this machine."
        )
        _state.told = True
    began = time.perf_counter()
    try:
        kernel = _compile(formula, like)
    except Exception as error:  # a compiler may fail in any way, and a training must not end by it
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        _state.failed = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        _logger.warning(
            "fused kernels are off in this process, since the %s could not be compiled (%s). Gradients are the same without "
            "them, steps slower; a C++ compiler (g++, clang) is needed on a CPU, triton on a GPU. fused_kernels=False "
            "silences this.",
            formula.name, _state.failed,
        )  # fmt: skip
        return
    _state.kernels[key] = kernel
    _logger.info("%s compiled in %.0f s", formula.name, time.perf_counter() - began)


def _compile(formula: Formula, like: Sequence[Tensor]) -> Kernel:
    device = like[0].device
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.autocast(device.type, enabled=False), torch.random.fork_rng(devices):
        examples: list[Any] = formula.examples(like, _TYPICAL)
        # A lambda, because the annotations of a function go into the graph, and graphs with them are not kept on disk.
        traced = make_fx(lambda *tensors: formula.compute(*tensors), tracing_mode="symbolic")(*examples)
        kernel: Kernel = torch._inductor.standalone_compile(traced, examples)
        for tensors in (examples, formula.examples(like, _OTHERS)):
            _check(kernel(*tensors), formula.compute(*tensors))
    return kernel


def _check(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        error = (ours.double() - theirs.double()).norm() / theirs.double().norm()
        limit = 8 * torch.finfo(theirs.dtype).eps
        if not error <= limit:
            raise ArithmeticError(f"its results differ from the formula's by {float(error):.1e}, more than {limit:.1e}")
