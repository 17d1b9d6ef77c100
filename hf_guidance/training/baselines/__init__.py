"""The compared methods that read no maps: each a frozen value, trained by BaselineTrainer."""

from hf_guidance.training.baselines.cnc import CnC
from hf_guidance.training.baselines.comparison import ComparedSettings, compared_settings
from hf_guidance.training.baselines.dfr import DFR
from hf_guidance.training.baselines.erm import ERM
from hf_guidance.training.baselines.flac import FLAC
from hf_guidance.training.baselines.group_dro import GroupDRO
from hf_guidance.training.baselines.jtt import JtT
from hf_guidance.training.baselines.lff import LfF
from hf_guidance.training.baselines.logit_correction import LC
from hf_guidance.training.baselines.mask_tune import MaskTune
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting
from hf_guidance.training.baselines.soft_con import SoftCon
from hf_guidance.training.baselines.trainer import BaselineTrainer

__all__ = [
    "DFR",
    "ERM",
    "FLAC",
    "LC",
    "BaselineTrainer",
    "CnC",
    "ComparedSettings",
    "GroupDRO",
    "JtT",
    "LfF",
    "MaskTune",
    "Method",
    "MethodRun",
    "Setting",
    "SoftCon",
    "Step",
    "compared_settings",
]
