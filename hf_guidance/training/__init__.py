"""Training: GuidedTrainer with its arguments, checks, logs and checkpoints, and Sweep for a grid of runs."""

from hf_guidance.training.arguments import GuidanceArguments
from hf_guidance.training.attribution_panel import AttributionPanel
from hf_guidance.training.frozen_features import freeze_features
from hf_guidance.training.pareto_checkpoints import ParetoCheckpoints
from hf_guidance.training.publishing.card_options import CardOptions
from hf_guidance.training.sweep import Sweep
from hf_guidance.training.trainer import GuidedTrainer

__all__ = [
    "AttributionPanel",
    "CardOptions",
    "GuidanceArguments",
    "GuidedTrainer",
    "ParetoCheckpoints",
    "Sweep",
    "freeze_features",
]
