"""Models that no file of families/ describes: trained at the input, at found layers, under PEFT, and with a family by hand."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import odd_nets
import pytest
import torch
from odd_nets import GRID, SIZE, Blocks, OddNet
from tiny import explain, fresh_model, make_batch

from hf_guidance import Family, GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.families import Layout, family_of
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import Energy

DOCS = Path(__file__).resolve().parents[2] / "docs" / "layers.md"


def rows(count=4, size=SIZE):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.zeros(size)
    boxes[: size[0] // 2] = 1
    return [
        {
            "pixel_values": torch.randn(3, *size, generator=generator),
            "labels": i % 2,
            "target": i % 2,
            "importance": boxes,
        }
        for i in range(count)
    ]


def trainer_of(model, layer, tmp_path, **options):
    args = GuidanceArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, report_to="none", save_strategy="no", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    guidance = Guidance(energy=Energy(InputXGradient(layer)))
    data = rows()
    return GuidedTrainer(model, args, train_dataset=data, eval_dataset=data, guidance=guidance, **options)


@pytest.mark.parametrize("layer", ["input", "final", "blocks.1"])
def test_a_model_of_unknown_type_is_trained_and_measured(layer, tmp_path):
    trainer = trainer_of(Blocks(SimpleNamespace(image_size=SIZE)), layer, tmp_path)
    trainer.train()
    assert 0 <= trainer.evaluate()["eval_epg"] <= 1


def test_the_input_asks_nothing_of_the_net(tmp_path):
    """A net whose layers cannot be found is trained at its input, and refused at construction at any other layer."""
    with torch.random.fork_rng():
        trainer_of(OddNet(odd_nets.two_branches), "input", tmp_path).train()
    with pytest.raises(ValueError, match=r"layer 'odd' of OddNet cannot be read: .*branches"):
        trainer_of(OddNet(odd_nets.two_branches), "odd", tmp_path)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_paths_need_no_prefix_of_peft(name):
    peft = pytest.importorskip("peft")
    model, plain = fresh_model(name), fresh_model(name)
    path = {"resnet": "resnet.encoder.stages.1", "vit": "vit.layers.1.layernorm_after"}[name]
    targets = {"resnet": ["convolution"], "vit": ["q_proj", "v_proj", "query", "value"]}[name]
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=targets)).double().eval()
    for layer in (path, "final"):
        method = InputXGradient(layer)
        found = explain(wrapped, family_of(wrapped), make_batch(), method).attribution(method)
        expected = explain(plain, family_of(plain), make_batch(), method).attribution(method)
        assert torch.allclose(found, expected, rtol=1e-9)  # LoRA begins at zero
    assert family_of(wrapped).path(f"base_model.model.{path}", wrapped) == path


def test_a_family_by_hand_reads_what_is_refused():
    """The subclass of docs/layers.md, for tokens column by column."""
    code = re.search(r"```python\n(@dataclass.*?)```", DOCS.read_text(), re.DOTALL)[1]
    names = {"dataclass": dataclass, "Family": Family}
    exec(code.replace("// 16", f"// {odd_nets.PATCH}"), names)
    torch.manual_seed(0)
    model = OddNet(odd_nets.columns_of_tokens).eval()
    family = names["ByColumns"](layers={"final": "odd"}, channel_axis=-1)
    images = torch.randn(2, 3, *SIZE)
    batch = {"pixel_values": images, "target": torch.tensor([0, 1])}
    forward = explain(model, family, batch, GradCAM(relu=False))
    assert torch.allclose(forward.activation("final"), torch.tanh(model.patches(images)))
    assert forward.attribution(GradCAM(relu=False)).shape == (2, *GRID)


def test_layouts_by_hand_are_believed():
    family = Family(layers={"final": "odd"}, layouts={"odd": Layout(-1, 1)})
    model = OddNet(odd_nets.token_behind)
    assert family.layout("odd", model) == Layout(-1, 1)
    assert Family(layers={"final": "odd"}, channel_axis=-1, prefix_tokens=1).layout("odd", model) == Layout(-1, 1)


@pytest.mark.parametrize("options", [{"channel_axis": 2}, {"prefix_tokens": -1}, {"prefix_tokens": True}])
def test_impossible_layouts_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*give"):
        Layout(**options)


def test_a_net_without_layers_says_at_its_input_what_stands_still(tmp_path):
    class Blind(OddNet):
        def forward(self, pixel_values):
            return super().forward(0 * pixel_values)

    with pytest.raises(ValueError, match=r"gradient at layer 'input' is zero .* Choose one of \['input'\]"):
        trainer_of(Blind(odd_nets.two_branches), "input", tmp_path).train()


def test_text_beside_images_needs_a_collator(tmp_path):
    class Reading(OddNet):
        def forward(self, pixel_values, input_ids=None):
            return super().forward(pixel_values)

    with pytest.raises(ValueError, match=r"Reading takes text beside images.*data_collator that makes input_ids"):
        trainer_of(Reading(lambda maps: maps), "input", tmp_path)
