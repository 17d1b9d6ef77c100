"""freeze_features leaves the last layer alone to be trained, of heads behind dropout or a norm, too."""

from __future__ import annotations

import pytest
import torch
from tiny import timm_model
from torch import nn
from transformers import AutoModelForImageClassification, ConvNextConfig, MobileNetV2Config, ResNetConfig, ViTConfig

from hf_guidance import Guidance
from hf_guidance.families import family_of
from hf_guidance.training import freeze_features

SMALL = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "num_labels": 3}
CONFIGS = {
    "dropout before the head": (MobileNetV2Config(num_labels=3, classifier_dropout_prob=0.2), "classifier"),
    "norm after the pool": (ConvNextConfig(**SMALL), "classifier"),
    "mean and Linear": (ResNetConfig(**SMALL, embedding_size=8, layer_type="basic"), "classifier.1"),
    "class token": (
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=3,
            image_size=64,
        ),
        "classifier",
    ),
}


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_the_last_layer_alone_is_trained(kind):
    config, head = CONFIGS[kind]
    model = AutoModelForImageClassification.from_config(config)
    assert freeze_features(model, {"pixel_values": torch.rand(2, 3, 64, 64)}) == head
    assert model.training
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{head}.weight", f"{head}.bias"}
    seen = []
    model.get_submodule(head).register_forward_hook(lambda module, args, output: seen.append(output))
    logits = model.eval()(pixel_values=torch.rand(2, 3, 64, 64)).logits
    assert torch.equal(seen[0], logits)


def test_a_trainer_moves_nothing_else(trainer_of, model_of, digits):
    model = model_of("resnet")
    processor_output = {"pixel_values": torch.rand(1, 3, 32, 32)}
    head = freeze_features(model, processor_output, family_of(model))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer_of(model, Guidance(), max_steps=2, frozen_batch_norm=True).train()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"{head}.weight", f"{head}.bias"}


def test_a_head_that_is_a_convolution_is_refused_and_nothing_frozen():
    model = AutoModelForImageClassification.from_config(ResNetConfig(**SMALL, embedding_size=8, layer_type="basic"))
    model.classifier = nn.Sequential(nn.Conv2d(20, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"0 Linear modules that put out the logits.*exactly one"):
        freeze_features(model, {"pixel_values": torch.rand(1, 3, 64, 64)})
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_head_behind_dropout_of_a_timm_net_is_found():
    model = timm_model("rexnet_100", drop_rate=0.2)
    path = freeze_features(model, {"pixel_values": torch.rand(1, 3, 64, 64)})
    assert path.endswith("head.fc")
    assert model.get_submodule(path).weight.requires_grad
