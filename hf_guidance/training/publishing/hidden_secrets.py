"""Secrets in TrainingArguments: there to be used, and absent wherever the arguments are written."""

from __future__ import annotations

import re
from typing import Any, Self

_NAMES = re.compile(r"(^|_)(token|secret|password|api_key)$")


class HiddenText(str):
    """A text that is not pickled (it is read back as None) and not shown by ``repr``; otherwise a plain ``str``.

    Trainer pickles its arguments into training_args.bin, in every checkpoint and in what it uploads while it trains.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> tuple[type, tuple[()]]:
        return type(None), ()

    def __repr__(self) -> str:
        return "'<hidden>'"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def hide_secrets(args: Any) -> None:
    """Make the secrets in training arguments HiddenTexts, in place; they can be used as before.

    Args:
        args: TrainingArguments. Secrets are texts whose names end in "token", "secret", "password" or "api_key", as
            ``hub_token``.

    Example:
        >>> args = TrainingArguments("out", hub_token="hf_...")
        >>> hide_secrets(args)
        >>> pickle.loads(pickle.dumps(args)).hub_token is None
        True
    """
    for name, value in list(vars(args).items()):
        if isinstance(value, str) and value and _NAMES.search(name) and not isinstance(value, HiddenText):
            setattr(args, name, HiddenText(value))
