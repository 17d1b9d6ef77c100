"""A base class that refuses checkpoints of another depth or width, which would leave part of the net random."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

_HEAD = "classifier."


class SameDepth(PreTrainedModel):  # type: ignore[misc]
    """Base of models whose backbone is loaded as a whole; only the head may be new."""

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Load as transformers does, and require that the checkpoint fills the whole backbone.

        Raises:
            ValueError: Weights of the backbone are missing, left over, or (with ``ignore_mismatched_sizes``) of other shapes.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        mismatched = {name for name, *_ in info["mismatched_keys"]}
        found = {"missing": info["missing_keys"], "left over": info["unexpected_keys"], "of other shapes": mismatched}
        names = {kind: sorted(key for key in keys if not key.startswith(_HEAD)) for kind, keys in found.items()}
        wrong = [f"{len(keys)} {kind} (as {keys[0]!r})" for kind, keys in names.items() if keys]
        if wrong:
            config = model.config
            raise ValueError(
                f"the checkpoint does not fit a {cls.__name__} of depths={config.depths}, hidden_sizes={config.hidden_sizes}, "
                f"layer_type={config.layer_type!r}: of its backbone's weights {', '.join(wrong)}. Leave config out, or give "
                "the one of the checkpoint; only the head may be new (num_labels, ignore_mismatched_sizes=True)."
            )
        return (model, info) if output_loading_info else model
