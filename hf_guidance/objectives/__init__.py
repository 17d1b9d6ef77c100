"""Objectives, one a file. A new loss is a file, a line here and a test."""

from hf_guidance.objectives.alignment import Alignment
from hf_guidance.objectives.energy import Energy
from hf_guidance.objectives.grad_mask import GradMask
from hf_guidance.objectives.l1 import L1
from hf_guidance.objectives.objective import AttributionObjective, Objective
from hf_guidance.objectives.ppce import PPCE
from hf_guidance.objectives.right_reasons import RightReasons
from hf_guidance.objectives.task_loss import TaskLoss

__all__ = [
    "L1",
    "PPCE",
    "Alignment",
    "AttributionObjective",
    "Energy",
    "GradMask",
    "Objective",
    "RightReasons",
    "TaskLoss",
]
