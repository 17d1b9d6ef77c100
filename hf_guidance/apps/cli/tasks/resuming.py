"""Which checkpoint a training goes on from."""

from __future__ import annotations

from hf_guidance.training import GuidanceArguments


def checkpoint_of(args: GuidanceArguments) -> str | bool | None:
    """What ``Trainer.train(resume_from_checkpoint=...)`` takes, of an option that is always text.

    Args:
        args: With ``resume_from_checkpoint``: a folder, "true" for the last checkpoint of ``output_dir``, "false" or None.

    Returns:
        The folder, True, or None.
    """
    given = args.resume_from_checkpoint
    words = {"true": True, "false": None}
    return words[given.lower()] if isinstance(given, str) and given.lower() in words else given
