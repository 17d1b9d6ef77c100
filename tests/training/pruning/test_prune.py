"""prune_channels on every family: training and inference, files, plain transformers, resuming, GuidedTrainer."""

import pytest
import torch
from tiny import BUILDERS, CLASSES, SIZE, fresh_model, make_batch
from transformers import AutoModelForImageClassification, TrainerCallback

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, Term, family_of
from hf_guidance.attributions import GradCAM
from hf_guidance.forward import Forward
from hf_guidance.models import load_pruned
from hf_guidance.objectives import Energy
from hf_guidance.training.attention import use_differentiable_attention
from hf_guidance.training.pruning import prune_channels

PLAIN_IS_WRONG = {"convnext", "convnextv2", "timm_convnext", "bcos_resnet"}  # no weights say the same as the mask


def every_third(name):
    width = {"swin": 64, "timm_swin": 64}.get(name, 12 if "vit" in name or "deit" in name else 20)
    keep = torch.ones(width, dtype=torch.bool)
    keep[::3] = False
    return keep


def pruned_model(name):
    model = fresh_model(name)
    prune_channels(model, every_third(name))
    return model


@pytest.mark.parametrize("name", BUILDERS)
def test_every_family(name, tmp_path):
    """Channels are 0 where maps are read; the files hold that; a plain load does, too, where weights can say it."""
    model, batch, keep = fresh_model(name), make_batch(), every_third(name)
    layer = family_of(model).layers["final"]
    needs = GradCAM("final").needs()
    unpruned = Forward(model, family_of(model), batch, needs).activation("final").detach()
    before = model(pixel_values=batch["pixel_values"]).logits
    entry = prune_channels(model, keep)
    after = model(pixel_values=batch["pixel_values"]).logits
    assert (entry.layer, entry.channels) == (layer, len(keep))
    assert entry.pruned == tuple(range(0, len(keep), 3))
    assert not torch.allclose(before, after)
    family = family_of(model)
    assert family.layers["final"] == layer
    activation = Forward(model, family, batch, needs).activation("final")
    assert torch.equal(activation, unpruned * keep[:, None, None])
    model.save_pretrained(tmp_path)
    again = load_pruned(tmp_path, dtype=torch.float64)
    use_differentiable_attention(again)
    assert torch.allclose(again(pixel_values=batch["pixel_values"]).logits, after)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.allclose(plain(pixel_values=batch["pixel_values"]).logits, after) != (name in PLAIN_IS_WRONG)


@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "timm_swin"])
def test_closed_forms_are_autograds(name):
    """Values and second derivatives of masked maps are those of plain autograd on the masked model."""
    model, batch = pruned_model(name), make_batch()
    family = family_of(model)
    maps = Forward(model, family, batch, GradCAM("final").needs()).attribution(GradCAM("final"))
    kept = []
    module = model.get_submodule(family.layers["final"])
    handle = module.register_forward_hook(lambda module, args, output: kept.append(output))
    logits = model(pixel_values=batch["pixel_values"]).logits
    handle.remove()
    (gradient,) = torch.autograd.grad(logits.gather(1, batch["target"][:, None]).sum(), kept[0], create_graph=True)
    own = family.of_layer(family.layers["final"], model)
    h, g = own.spatial(kept[0], SIZE), own.spatial(gradient, SIZE)
    expected = (h * g.mean((2, 3), keepdim=True)).sum(1).relu()
    assert torch.allclose(maps, expected)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours, theirs = (
        torch.autograd.grad(value.square().sum(), parameters, allow_unused=True, materialize_grads=True)
        for value in (maps, expected)
    )
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(ours, theirs, strict=True))


def rows(count=8):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "pixel_values": torch.randn(3, *SIZE, generator=generator),
            "label": index % CLASSES,
            "objects": [{"bbox": [0.0, 0.0, 24.0, 24.0], "category": index % CLASSES}],
        }
        for index in range(count)
    ]


class Steps(TrainerCallback):
    """Notes in a list when a step begins."""

    def __init__(self, calls):
        self.calls = calls

    def on_step_begin(self, args, state, control, **kwargs):
        self.calls.append("step")


def trainer_of(model, folder, steps=3):
    arguments = GuidanceArguments(
        output_dir=str(folder), per_device_train_batch_size=4, max_steps=steps, save_strategy="steps", save_steps=1,
        learning_rate=0.01, weight_decay=0.1, report_to="none", use_cpu=True, disable_tqdm=True,
        dataloader_pin_memory=False, seed=3,
    )  # fmt: skip
    guidance = Guidance(energy=Term(Energy(GradCAM("final")), 1.0, "rows"))
    return GuidedTrainer(model=model, args=arguments, train_dataset=rows(), guidance=guidance)


@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "timm_resnet"])
def test_attention_on_one_masked_forward(name, tmp_path):
    """GuidedTrainer trains a pruned model as it is: channels stay 0, its checkpoints are pruned, and training resumes."""
    model = pruned_model(name).float()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    trainer, calls = trainer_of(model, tmp_path), []
    trainer.add_callback(Steps(calls))
    model.register_forward_pre_hook(lambda module, args, kwargs: calls.append("forward"), with_kwargs=True)
    trainer.train()
    assert "".join(call[0] for call in calls).endswith("sfsfsf")  # one forward a step, after a check before the first
    assert any(not torch.equal(value, start[key]) for key, value in model.state_dict().items())
    pixels = make_batch()["pixel_values"].float()
    again = load_pruned(tmp_path / "checkpoint-3").eval()
    expected = model.eval()(pixel_values=pixels).logits
    assert torch.allclose(again(pixel_values=pixels).logits, expected, atol=1e-6)
    resumed = load_pruned(tmp_path / "checkpoint-1")
    trainer_of(resumed, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert torch.allclose(resumed.eval()(pixel_values=pixels).logits, expected, atol=1e-6)


def test_weights_of_pruned_channels_stay_zero(tmp_path):
    model = pruned_model("resnet").float()
    trainer_of(model, tmp_path).train()
    assert not model.classifier[1].weight[:, ::3].any()
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "checkpoint-3")
    pixels = make_batch()["pixel_values"].float()
    assert torch.allclose(plain(pixel_values=pixels).logits, model.eval()(pixel_values=pixels).logits, atol=1e-6)


def test_checkpoints_of_another_pruning_are_refused(tmp_path):
    trainer_of(pruned_model("resnet").float(), tmp_path).train()
    last = str(tmp_path / "checkpoint-2")
    with pytest.raises(ValueError, match="holds a model with 7 pruned channels, but the model in memory has no pruned"):
        trainer_of(fresh_model("resnet").float(), tmp_path).train(resume_from_checkpoint=last)
    other = fresh_model("resnet").float()
    prune_channels(other, ~every_third("resnet"))
    with pytest.raises(ValueError, match="7 pruned channels, but the model in memory has 13"):
        trainer_of(other, tmp_path).train(resume_from_checkpoint=last)


def test_more_can_be_pruned_later_but_nothing_comes_back():
    model, keep = pruned_model("resnet"), every_third("resnet")
    with pytest.raises(ValueError, match="keeps 7 channels that were pruned before, such as 0"):
        prune_channels(model, torch.ones(20, dtype=torch.bool))
    keep[1] = False
    assert prune_channels(model, keep).pruned[:3] == (0, 1, 3)
    with pytest.raises(ValueError, match="a model has one mask"):
        prune_channels(model, torch.ones(16, dtype=torch.bool), layer="mid3")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1] * 19, r"shape \(19,\), but 'resnet.encoder.stages.3' has 20 channels"),
        (torch.ones(20, 1), r"shape \(20, 1\)"),
        ([0] * 20, "prunes all 20 channels"),
        ([1] * 19 + [0.5], r"holds \[0.5\]"),
        ([1] * 19 + [2], r"holds \[2\]"),
        ([1] * 19 + [float("nan")], "must be 1"),
        (["yes"] * 20, "no list of 0 and 1"),
        (None, "no list of 0 and 1"),
    ],
)
def test_masks_that_are_refused(mask, message):
    model = fresh_model("resnet")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        prune_channels(model, mask)
    assert getattr(model.config, "channel_mask", None) is None
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_numbers_and_lists_are_masks_too():
    for keep in ([0] + [1] * 19, [False] + [True] * 19, torch.tensor([0.0] + [1.0] * 19)):
        assert prune_channels(fresh_model("resnet"), keep).pruned == (0,)
