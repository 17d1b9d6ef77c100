"""Secrets in TrainingArguments: there to be used, and absent wherever the arguments are written."""

from __future__ import annotations

from typing import Any, Self

from transformers.utils import logging

from hf_guidance.common.hub.secrets import is_secret_name

logger = logging.get_logger(__name__)


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


class ShowsNoSecrets:
    """Beside TrainingArguments: keeps their secrets out of ``to_dict``, which reporters such as TensorBoard log."""

    def to_dict(self) -> dict[str, Any]:
        """The arguments as plain types, with the name of a secret in its place."""
        plain: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return {name: f"<{name.upper()}>" if value and is_secret_name(name) else value for name, value in plain.items()}

    def __str__(self) -> str:
        fields = "".join(f"{name}={value},\n" for name, value in sorted(self.to_dict().items()))
        return f"{type(self).__name__}(\n{fields})"


def hide_secrets(args: Any) -> None:
    """Make the secrets in training arguments HiddenTexts, in place; they can be used as before.

    Args:
        args: TrainingArguments. Secrets are texts that ``is_secret_name`` says are, as ``hub_token``.

    Example:
        >>> args = TrainingArguments("out", hub_token="hf_...")
        >>> hide_secrets(args)
        >>> pickle.loads(pickle.dumps(args)).hub_token is None
        True
    """
    for name, value in list(vars(args).items()):
        if isinstance(value, str) and value and is_secret_name(name) and not isinstance(value, HiddenText):
            setattr(args, name, HiddenText(value))
            if not isinstance(args, ShowsNoSecrets) and not name.endswith("_token"):  # which transformers hides itself
                logger.warning(
                    f"{type(args).__name__}.{name} is shown by to_dict(), which reporters such as TensorBoard log; derive the "
                    "class from GuidanceArguments, or read the secret from a variable of the environment where it is used."
                )


def secrets_of(args: Any) -> list[str]:
    """The secrets in training arguments, as plain texts."""
    return [value[:] for name, value in vars(args).items() if isinstance(value, str) and value and is_secret_name(name)]
