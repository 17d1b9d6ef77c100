"""Guidance: the weighted terms of a training loss, and guidance.json."""

from hf_guidance.guidance.guidance import Guidance, counted, smoothed, undefined
from hf_guidance.guidance.importance_columns import importance_columns, with_importance
from hf_guidance.guidance.serialization import from_plain, known_names, to_plain
from hf_guidance.guidance.sharing import GUIDANCE_FILE
from hf_guidance.guidance.term import Term
from hf_guidance.guidance.trainer_task import TrainerTask
from hf_guidance.guidance.weight_schedule import WeightSchedule

__all__ = [
    "GUIDANCE_FILE",
    "Guidance",
    "Term",
    "TrainerTask",
    "WeightSchedule",
    "counted",
    "from_plain",
    "importance_columns",
    "known_names",
    "smoothed",
    "to_plain",
    "undefined",
    "with_importance",
]
