"""RunFacts: what a report needs to know of a run beside its log, kept in trainer_state.json."""

from __future__ import annotations

from typing import Any

from hf_guidance.training.arguments import StepOptions
from hf_guidance.training.attached import AttachedCallback

_OF_COLLATOR = ("source", "control_seed", "box_dilation")


class RunFacts(AttachedCallback):
    """Writes facts of a run where transformers keeps what callbacks know: ``stateful_callbacks`` of trainer_state.json.

    They are written once, when training begins, so that every checkpoint and ``trainer.save_state()`` has them. A resumed run
    writes those of its own trainer, unless restore_callback_states_from_checkpoint gives the callback back what it knew.

    Attributes:
        facts: Of the last run; see ``facts_of``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.facts: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the trainer, and write."""
        if state.is_world_process_zero and self.trainer is not None:
            self.facts = facts_of(self.trainer)
            # The form that Trainer reads back, with restore_callback_states_from_checkpoint.
            state.stateful_callbacks[type(self).__name__] = {"args": {}, "attributes": {"facts": self.facts}}


def facts_of(trainer: Any) -> dict[str, Any]:
    """Facts of a run as JSON types.

    Args:
        trainer: A GuidedTrainer.

    Returns:
        guidance (as guidance.json); seed; model (its class); rows, annotated_share (of the training rows; None where it
        cannot be told without reading them); source, control_seed and box_dilation of the collator, None where it has none;
        learning_rate, epochs or max_steps, batch_size (of one step, over processes and accumulation), load_best_model_at_end;
        guide_every where it is not 1.
    """
    args, annotations = trainer.args, trainer.annotation_facts()
    collator = getattr(trainer.data_collator, "explained", trainer.data_collator)
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    length = {"max_steps": args.max_steps} if args.max_steps > 0 else {"epochs": args.num_train_epochs}
    every = StepOptions.of(args).guide_every
    return {
        "guidance": trainer.guidance.to_dict(),
        "model": type(trainer.accelerator.unwrap_model(trainer.model)).__name__,
        "seed": args.seed,
        "rows": annotations.rows.rows,
        "annotated_share": annotations.share,
        **{name: getattr(collator, name, None) for name in _OF_COLLATOR},
        "learning_rate": args.learning_rate,
        **length,
        "batch_size": batch,
        "load_best_model_at_end": args.load_best_model_at_end,
        **({"guide_every": every} if every > 1 else {}),
    }
