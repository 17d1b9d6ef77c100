"""B-cos and X-DNN nets in half precision: logits that differ, complete maps, guided steps."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from tiny_bcos import MULTI, pixels, tiny_net

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term
from hf_guidance.attributions import BcosContribution, IntegratedGradients
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import (
    BcosImageProcessor,
    BcosResNetConfig,
    BcosResNetForImageClassification,
    XDNNImageProcessor,
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
)
from hf_guidance.objectives import Energy

torch.set_num_threads(1)
HALF = [torch.bfloat16, torch.float16]
SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}
KINDS = {
    "bcos": (BcosResNetForImageClassification, BcosResNetConfig, BcosImageProcessor, BcosContribution),
    "xdnn": (XDNNResNetForImageClassification, XDNNResNetConfig, XDNNImageProcessor, IntegratedGradients),
}


def half(dtype, way):
    """A net and images in half precision, or in float32 under autocast."""
    model, images = tiny_net(), pixels(4)
    return (model.to(dtype), images.to(dtype)) if way == "cast" else (model.float(), images.float())


@pytest.mark.parametrize("way", ["cast", "autocast"])
@pytest.mark.parametrize("dtype", HALF)
def test_logits_keep_their_digits_beside_the_bias(dtype, way):
    model, images = half(dtype, way)
    expected = tiny_net()(pixels(4)).logits
    with torch.autocast("cpu", dtype, enabled=way == "autocast"):
        logits = model(images).logits
    assert logits.dtype == torch.float32
    spread = expected - model.config.logit_bias
    assert spread.abs().max() < 1 / 64  # less than a step of bfloat16 at the bias: all would be one value
    error = (logits - expected).abs().max() / spread.abs().max()
    assert error < (0.05 if dtype == torch.bfloat16 else 0.01)


def test_full_precision_is_left_as_it_is():
    assert tiny_net()(pixels()).logits.dtype == torch.float64
    assert tiny_net().float()(pixels().float()).logits.dtype == torch.float32


@pytest.mark.parametrize("problem", [None, MULTI])
@pytest.mark.parametrize("dtype", HALF)
def test_losses_have_gradients(dtype, problem):
    model, images = tiny_net(problem_type=problem).to(dtype).train(), pixels().to(dtype)
    labels = torch.eye(3, dtype=torch.int64) if problem == MULTI else torch.tensor([0, 2, 1])
    output = model(images, labels=labels)
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(bool(p.grad.isfinite().all()) and p.grad.dtype == dtype for p in model.parameters())
    assert any(bool(p.grad.any()) for p in model.parameters())


@pytest.mark.parametrize("way", ["cast", "autocast"])
@pytest.mark.parametrize("dtype", HALF)
def test_contributions_sum_to_the_logit_without_its_bias(dtype, way):
    """At the class map to float32's step at the bias; at the input to the precision of the layers between."""
    model, images = half(dtype, way)
    methods = [BcosContribution(layer) for layer in ("final", "input")]
    needs = frozenset().union(*(method.needs() for method in methods))
    with torch.autocast("cpu", dtype, enabled=way == "autocast"):
        forward = Forward(model, family_of(model), {"pixel_values": images, "target": torch.arange(4) % 3}, needs)
        maps = [forward.attribution(method) for method in methods]
    expected = forward.scores(methods[0].target) - model.config.logit_bias
    assert expected.dtype == maps[0].dtype == torch.float32
    for found, bound in zip(maps, (1e-6, 0.1 * expected.abs().max()), strict=True):
        assert (found.sum((1, 2)) - expected).abs().max() < bound


def rows():
    generator = np.random.default_rng(0)
    return Dataset.from_list(
        [
            {
                "image": Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)),
                "label": index % 2,
                "objects": [{"bbox": [4, 4, 20, 20], "category": index % 2}],
            }
            for index in range(16)
        ]
    )


@pytest.mark.parametrize("way", ["cast", "autocast"])
@pytest.mark.parametrize("layer", ["input", "final"])
@pytest.mark.parametrize("kind", KINDS)
def test_guided_steps_in_bfloat16(tmp_path, kind, layer, way):
    model_class, config, processor, attribution = KINDS[kind]
    torch.manual_seed(0)
    model = model_class(config(**SIZES)).to(torch.bfloat16 if way == "cast" else torch.float32)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    args = GuidanceArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=8, max_steps=2, learning_rate=0.02, report_to="none",
        save_strategy="no", logging_steps=1, use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
        bf16=way == "autocast",
    )  # fmt: skip
    trainer = GuidedTrainer(
        model=model, args=args, train_dataset=rows(), processing_class=processor(size={"height": 32, "width": 32}),
        guidance=Guidance(energy=Term(Energy(attribution(layer)), 1.0, "rows")),
    )  # fmt: skip
    trainer.train()
    logged = [
        entry[f"loss/{name}"]
        for entry in trainer.state.log_history
        if "loss/task" in entry
        for name in ("task", "energy")
    ]
    assert len(logged) == 4
    assert np.isfinite(logged).all()
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
