"""A bias-free ResNet in a GuidedTrainer: integrated gradients at the price of input times gradient."""

import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import IntegratedGradients
from hf_guidance.families import family_of
from hf_guidance.models import XDNNImageProcessor, XDNNResNetConfig, XDNNResNetForImageClassification
from hf_guidance.objectives import Energy
from hf_guidance.recipes import model_guidance

STEPS = 12


def rows():
    """Noise with a square, red or blue by the class, anywhere."""
    generator = np.random.default_rng(0)
    made = []
    for index in range(24):
        image, label = generator.integers(0, 256, (32, 32, 3), np.uint8), index % 2
        x, y = (int(v) for v in generator.integers(0, 20, 2))
        image[y : y + 12, x : x + 12] = (220, 20, 20) if label else (20, 20, 220)
        objects = [{"bbox": [x, y, x + 12, y + 12], "category": label}]
        made.append({"image": Image.fromarray(image), "label": label, "objects": objects, "image_id": str(index)})
    return Dataset.from_list(made)


class Training:
    """A run of 12 steps, its model's calls and its log."""

    def __init__(self, folder, guidance, **options):
        torch.manual_seed(0)
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        model = XDNNResNetForImageClassification(XDNNResNetConfig(num_labels=2, **sizes))
        family = dataclasses.replace(family_of(model), **options)
        args = GuidanceArguments(
            output_dir=str(folder), per_device_train_batch_size=8, learning_rate=4e-3, max_steps=STEPS, report_to="none",
            save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
            lr_scheduler_type="constant",
        )  # fmt: skip
        trainer = GuidedTrainer(
            model=model, args=args, train_dataset=rows(), guidance=guidance, family=family,
            processing_class=XDNNImageProcessor(size={"height": 32, "width": 32}),
        )  # fmt: skip
        self.calls = 0
        model.register_forward_hook(self.count)
        trainer.train()
        self.model, self.log = model, [entry for entry in trainer.state.log_history if "loss/energy" in entry]

    def count(self, model, *call):
        self.calls += model.training  # maps for the card are drawn in eval mode

    @property
    def weights(self):
        return torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])


@pytest.mark.parametrize("layer", ["input", "final"])
def test_integrated_gradients_train_as_input_x_gradient(tmp_path, layer):
    """The model runs once a step, and ends at the same weights."""
    recipes = [model_guidance("energy", "xdnn", attribution, layer, weight=0.02) for attribution in ("intgrad", "ixg")]
    integrated, single = (Training(tmp_path, guidance) for guidance in recipes)
    assert integrated.calls == single.calls == STEPS
    assert len(integrated.log) == STEPS
    assert torch.equal(integrated.weights, single.weights)
    task = [entry["loss/task"] for entry in integrated.log]
    assert task[0] == pytest.approx(np.log(2), abs=1e-4)  # the head is zero
    assert np.mean(task[-3:]) < 0.68
    energy = [entry["loss/energy"] for entry in integrated.log]
    assert energy[0] == 8  # no attribution yet: 1 an image
    assert np.mean(energy[-3:]) < 7


def test_where_biases_are_not_looked_into_the_path_costs_a_second_call(tmp_path):
    walked = Guidance(energy=Term(Energy(IntegratedGradients(steps=2)), 0.02, "sum"))
    assert Training(tmp_path, walked, biases=None).calls == 2 * STEPS
    assert Training(tmp_path, walked).calls == STEPS


def test_the_recipe_refuses_such_a_model(tmp_path):
    with pytest.raises(ValueError, match=r"exact=True\) on a model whose family does not say that it has no biases"):
        Training(tmp_path, model_guidance("energy", "xdnn"), biases=None)
