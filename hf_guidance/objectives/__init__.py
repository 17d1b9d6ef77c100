"""Objectives, one per file, and the normalizations that they apply to an attribution map.

To add an objective: a file here, a line below and a test.
"""

from hf_guidance.objectives.act_diff import ActDiff
from hf_guidance.objectives.adversarial_answer_loss import AdversarialAnswerLoss
from hf_guidance.objectives.alignment import Alignment
from hf_guidance.objectives.answer_loss import AnswerLoss
from hf_guidance.objectives.attention_squint import AttentionSQuINT
from hf_guidance.objectives.caption_loss import CaptionLoss
from hf_guidance.objectives.comparison_scr import ComparisonSCR
from hf_guidance.objectives.contrastive_sort import ContrastiveSOrT
from hf_guidance.objectives.energy import Energy
from hf_guidance.objectives.grad_mask import GradMask
from hf_guidance.objectives.gradia import GRADIA
from hf_guidance.objectives.influence_scr import InfluenceSCR
from hf_guidance.objectives.invariance_da import InvarianceDA
from hf_guidance.objectives.invariance_fi import InvarianceFI
from hf_guidance.objectives.irrelevant_crayon import IrrelevantCRAYON
from hf_guidance.objectives.l1 import L1
from hf_guidance.objectives.normalizations import (
    Identity,
    MaxAbs,
    MinMax,
    Normalization,
    OffsetMax,
    Positive,
    UnitNorm,
)
from hf_guidance.objectives.objective import AttributionObjective, Objective
from hf_guidance.objectives.ppce import PPCE
from hf_guidance.objectives.quadrant_task_loss import QuadrantTaskLoss
from hf_guidance.objectives.random_sufficiency import RandomSufficiency
from hf_guidance.objectives.ranking_hint import RankingHINT
from hf_guidance.objectives.relevant_crayon import RelevantCRAYON
from hf_guidance.objectives.right_reasons import RightReasons
from hf_guidance.objectives.role_answer_loss import RoleAnswerLoss
from hf_guidance.objectives.saliency_guided import SaliencyGuided
from hf_guidance.objectives.saved_map import SavedMapObjective
from hf_guidance.objectives.sufficiency import Sufficiency
from hf_guidance.objectives.task_loss import TaskLoss
from hf_guidance.objectives.uncertainty import Uncertainty

__all__ = [
    "GRADIA",
    "L1",
    "PPCE",
    "ActDiff",
    "AdversarialAnswerLoss",
    "Alignment",
    "AnswerLoss",
    "AttentionSQuINT",
    "AttributionObjective",
    "CaptionLoss",
    "ComparisonSCR",
    "ContrastiveSOrT",
    "Energy",
    "GradMask",
    "Identity",
    "InfluenceSCR",
    "InvarianceDA",
    "InvarianceFI",
    "IrrelevantCRAYON",
    "MaxAbs",
    "MinMax",
    "Normalization",
    "Objective",
    "OffsetMax",
    "Positive",
    "QuadrantTaskLoss",
    "RandomSufficiency",
    "RankingHINT",
    "RelevantCRAYON",
    "RightReasons",
    "RoleAnswerLoss",
    "SaliencyGuided",
    "SavedMapObjective",
    "Sufficiency",
    "TaskLoss",
    "Uncertainty",
    "UnitNorm",
]
