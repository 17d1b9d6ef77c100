"""How models of types that no file of families/ describes are called: arguments, names of outputs, columns, wrappers."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from odd_nets import SIZE, Blocks
from tiny import explain
from torch import nn
from unknown_types import plain_net, trainer_of

from hf_guidance import Family
from hf_guidance.attributions import InputXGradient
from hf_guidance.families import family_of


@pytest.mark.parametrize("layer", ["input", "final", "first"])
@pytest.mark.parametrize(
    ("put", "name"),
    [
        (lambda logits, maps: logits, "logits"), (lambda logits, maps: logits, 0), (lambda logits, maps: (logits,), 0),
        (lambda logits, maps: (maps, logits), 1), (lambda logits, maps: {"maps": maps, "scores": logits}, "scores"),
    ],
    ids=["tensor", "tensor 0", "tuple", "second", "scores"],
)  # fmt: skip
def test_logits_by_any_name_are_trained(put, name, layer, tmp_path):
    model = plain_net(put)
    trainer = trainer_of(model, layer, tmp_path, family=dataclasses.replace(family_of(model), logits=name))
    trainer.train()
    images = torch.randn(2, 3, *SIZE)
    batch = {"pixel_values": images, "target": torch.tensor([0, 1])}
    forward = explain(model.eval(), trainer.family, batch, InputXGradient(layer))
    assert torch.allclose(
        forward.logits(), model.head(torch.tanh(model.second(torch.tanh(model.first(images)))).mean((2, 3)))
    )


@pytest.mark.parametrize("layer", ["final", "first"])
def test_logits_of_an_unknown_name_are_refused_at_construction(layer, tmp_path):
    with pytest.raises(ValueError, match=r"put out tuple without 'logits' \(it has \[0, 1\]\).*Family\(logits="):
        trainer_of(plain_net(lambda logits, maps: (maps, logits)), layer, tmp_path)


def test_labels_that_a_forward_cannot_do_without_are_given(tmp_path):
    class Labelled(Blocks):
        def forward(self, pixel_values, labels):
            assert labels.shape == pixel_values.shape[:1]
            return super().forward(pixel_values)

    for layer in ("input", "final"):
        trainer = trainer_of(Labelled(SimpleNamespace(image_size=SIZE)), layer, tmp_path)
        trainer.train()
        assert 0 <= trainer.evaluate()["eval_epg"] <= 1


def test_columns_of_the_library_are_no_arguments(tmp_path):
    class Masked(Blocks):
        def forward(
            self, pixel_values, row=None, target=None, importance=None, mask=None, labels=None, bool_masked_pos=None
        ):
            assert row is target is importance is labels is None
            return super().forward(pixel_values)

    model = Masked(SimpleNamespace(image_size=SIZE))
    assert family_of(model).inputs == ("pixel_values", "mask", "bool_masked_pos")
    trainer_of(model, "input", tmp_path).train()


@pytest.mark.parametrize("layer", ["input", "final", "module.first"])
def test_a_submodule_called_module_is_no_wrapper(layer, tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(image_size=SIZE)
            self.module = plain_net()
            self.module.forward = self.module.called

        def forward(self, pixel_values):
            return {"logits": 2 * self.module(pixel_values)["logits"]}

    trainer = trainer_of(Own(), layer, tmp_path)
    trainer.train()
    batch = {"pixel_values": torch.randn(2, 3, *SIZE), "target": torch.tensor([0, 1])}
    model = trainer.model.eval()
    logits = explain(model, trainer.family, batch, InputXGradient(layer)).logits()
    assert torch.allclose(logits, 2 * model.module(batch["pixel_values"])["logits"])


def test_a_forward_without_pixel_values_shows_the_wrapper(tmp_path):
    class Unnamed(Blocks):
        def forward(self, x):
            return super().forward(x)["logits"]

    model = Unnamed(SimpleNamespace(image_size=SIZE))
    by_hand = Family(layers={"final": "patches"})
    with pytest.raises(ValueError, match=r"has no argument 'pixel_values'.*it has \['x'\]. Wrap the model") as error:
        trainer_of(model, "final", tmp_path, family=by_hand)
    batch = {"pixel_values": torch.randn(2, 3, *SIZE), "target": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match="Wrap the model"):
        explain(model, by_hand, batch, InputXGradient())
    with pytest.raises(ValueError, match="let its forward take pixel_values"):
        family_of(model)
    names = {"torch": torch}
    exec("\n".join(line[4:] for line in str(error.value).splitlines()[1:]), names)
    trainer_of(names["Named"](model), "input", tmp_path).train()


def test_arguments_reach_the_calls_by_which_layers_are_found(tmp_path):
    class Switched(Blocks):
        def forward(self, pixel_values, switch=False):
            if not switch:
                raise RuntimeError("switched off")
            return super().forward(pixel_values)

    model = Switched(SimpleNamespace(image_size=SIZE))
    for layer in ("final", "blocks.1"):
        trainer_of(model, layer, tmp_path, model_arguments={"switch": True}).train()
        with pytest.raises(ValueError, match="switched off"):
            trainer_of(model, layer, tmp_path)
