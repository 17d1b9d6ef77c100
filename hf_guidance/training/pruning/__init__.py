"""Pruning of channels by yes/no answers about what they look at, and training of the last layer (CRAYON-Pruning)."""

from hf_guidance.training.pruning.features import PooledFeatures, pooled_features
from hf_guidance.training.pruning.finetune import fine_tune_head
from hf_guidance.training.pruning.neuron_file import read_neurons, write_neurons
from hf_guidance.training.pruning.prune import prune_channels
from hf_guidance.training.pruning.settings import HeadTraining, pruning_settings
from hf_guidance.training.pruning.votes import neuron_votes, sampled_neurons

__all__ = [
    "HeadTraining",
    "PooledFeatures",
    "fine_tune_head",
    "neuron_votes",
    "pooled_features",
    "prune_channels",
    "pruning_settings",
    "read_neurons",
    "sampled_neurons",
    "write_neurons",
]
