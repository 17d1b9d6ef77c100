"""``F.multi_head_attention_forward``, what torch.nn.MultiheadAttention is made of, with an attention of choice inside."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch.nn import functional as F


def multi_head_attention(attend: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it with ``attend`` in place of ``F.scaled_dot_product_attention``.

    A mode sees this function as one call, and is off inside. So the function's own code runs with other globals, which only
    this call sees: one name in them is ``attend``, and the function does not hand itself to a mode again.
    """
    original = F.multi_head_attention_forward
    names = {"scaled_dot_product_attention": attend, "has_torch_function": lambda tensors: False}
    twin = FunctionType(
        original.__code__, vars(F) | names, original.__name__, original.__defaults__, original.__closure__
    )
    twin.__kwdefaults__ = original.__kwdefaults__
    return twin(*args, **kwargs)
