"""Which checkpoint a training goes on from."""

from __future__ import annotations

from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint

from hf_guidance.apps.cli.application import refuse
from hf_guidance.training import GuidanceArguments

_STATE = "trainer_state.json"
_OPTION = "--resume_from_checkpoint"


def checkpoint_of(args: GuidanceArguments) -> str | bool | None:
    """What ``Trainer.train(resume_from_checkpoint=...)`` takes, of an option that is always text.

    Args:
        args: With ``resume_from_checkpoint``: a folder, "true" for the last checkpoint of ``output_dir``, "false" or None.

    Returns:
        The folder, True, or None.

    Raises:
        typer.BadParameter: There is no such checkpoint.
    """
    given = args.resume_from_checkpoint
    words = {"true": True, "false": None}
    chosen = words[given.lower()] if isinstance(given, str) and given.lower() in words else given
    if chosen is True:
        if not Path(args.output_dir).is_dir() or get_last_checkpoint(args.output_dir) is None:
            refuse(f"{args.output_dir} holds no checkpoint to go on from; leave the option out to begin anew.", _OPTION)
    elif chosen and not (Path(str(chosen)) / _STATE).is_file():
        refuse(f"{chosen} is no checkpoint of a training (no {_STATE}); give a folder checkpoint-N.", _OPTION)
    return chosen
