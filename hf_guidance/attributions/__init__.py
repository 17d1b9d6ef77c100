"""Attribution methods, one per file, and targets: the scores that they explain.

A new method needs a file, an import and a name in ``__all__`` here, and a test.
"""

from hf_guidance.attributions.attention_weights import AttentionWeights
from hf_guidance.attributions.attribution import Attribution
from hf_guidance.attributions.average_effect import AverageEffect
from hf_guidance.attributions.bcos_contribution import BcosContribution
from hf_guidance.attributions.expected_gradients import ExpectedGradients
from hf_guidance.attributions.grad_cam import GradCAM
from hf_guidance.attributions.gradient import Gradient
from hf_guidance.attributions.input_x_gradient import InputXGradient
from hf_guidance.attributions.integrated_gradients import IntegratedGradients
from hf_guidance.attributions.keep_one_in import KeepOneIn
from hf_guidance.attributions.kernel_shap import KernelSHAP
from hf_guidance.attributions.leave_one_out import LeaveOneOut
from hf_guidance.attributions.targets import (
    ContrastLogits,
    LabelLogit,
    LogProbabilities,
    PredictedLogit,
    SoftLabelLogits,
    Target,
)
from hf_guidance.attributions.word_logit import WordLogit

__all__ = [
    "AttentionWeights",
    "Attribution",
    "AverageEffect",
    "BcosContribution",
    "ContrastLogits",
    "ExpectedGradients",
    "GradCAM",
    "Gradient",
    "InputXGradient",
    "IntegratedGradients",
    "KeepOneIn",
    "KernelSHAP",
    "LabelLogit",
    "LeaveOneOut",
    "LogProbabilities",
    "PredictedLogit",
    "SoftLabelLogits",
    "Target",
    "WordLogit",
]
