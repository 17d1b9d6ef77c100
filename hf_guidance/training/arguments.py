"""GuidanceArguments: TrainingArguments with the scalars of guidance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from hf_guidance.training.best_model import contradiction, higher_is_better
from hf_guidance.training.publishing.hidden_secrets import ShowsNoSecrets, hide_secrets


@dataclass
class GuidanceArguments(ShowsNoSecrets, TrainingArguments):  # type: ignore[misc]
    """TrainingArguments with the scalar options of guidance; the terms are a Guidance, passed to the trainer.

    ``greater_is_better`` follows ``metric_for_best_model`` where that is a metric of this library, as "eval_epg" or
    "eval_loss/energy".

    Raises:
        ValueError: ``max_rows`` or ``guide_every`` is below 1, or ``greater_is_better`` contradicts ``metric_for_best_model``.
    """

    frozen_batch_norm: bool = field(
        default=False,
        metadata={"help": "Train with BatchNorm's running statistics. Images are then independent, and images without "
                  "annotation cost a plain step. With a high weight this has left maps without positive entries."},
    )  # fmt: skip
    max_rows: int | None = field(
        default=None,
        metadata={"help": "Images per model call for edited copies (IntegratedGradients); lower it to save memory."},
    )
    guide_every: int = field(
        default=1,
        metadata={"help": "Guide at every k-th optimizer step only, the first included, with k times the weights: the expected "
                  "gradient is the same, the other steps cost what plain steps cost."},
    )  # fmt: skip
    fused_kernels: bool = field(
        default=False,
        metadata={"help": "Compile what guided steps cost most beyond plain ones, the double backwards of exact GELU and "
                  "LayerNorm: the same gradients, faster. Takes a minute at the first step, and a C++ compiler (GPU: triton)."},
    )  # fmt: skip

    def __post_init__(self) -> None:
        metric, given = self.metric_for_best_model, self.greater_is_better  # type: ignore[has-type]
        wanted = None if metric is None else higher_is_better(metric)
        if wanted is not None and given not in (None, wanted):
            raise ValueError(contradiction(metric, given, wanted))
        self.greater_is_better = given if wanted is None else wanted
        super().__post_init__()
        hide_secrets(self)
        StepOptions.of(self)


@dataclass(frozen=True)
class StepOptions:
    """The arguments that a guided step reads.

    Raises:
        ValueError: ``max_rows`` or ``guide_every`` is below 1, ``guide_every`` no whole number, or ``fused_kernels`` no bool.
    """

    frozen_batch_norm: bool = False
    max_rows: int | None = None
    guide_every: int = 1
    fused_kernels: bool = False

    def __post_init__(self) -> None:
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows={self.max_rows}: give at least 1, or None to run all copies at once.")
        if type(self.guide_every) is not int or self.guide_every < 1:
            raise ValueError(
                f"guide_every={self.guide_every!r}: give a whole number of optimizer steps, 1 to guide at every step, 4 to "
                "guide at every fourth with four times the weights."
            )

        if type(self.fused_kernels) is not bool:
            raise ValueError(f"fused_kernels={self.fused_kernels!r}: give True to compile them, or False.")

    @classmethod
    def of(cls, args: Any) -> StepOptions:
        """The options of GuidanceArguments; the defaults for plain TrainingArguments, which lack them."""
        if not isinstance(args, GuidanceArguments):
            return cls()
        return cls(args.frozen_batch_norm, args.max_rows, args.guide_every, args.fused_kernels)
