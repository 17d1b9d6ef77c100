"""Which tensors a substitute takes: plain ones, and what stands for them while a step is traced for a compiler."""

from __future__ import annotations

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

PLAIN = (Tensor, nn.Parameter, FakeTensor)
