"""Without a second graph, the copies of a view are called a few at a time, and each graph is freed before the next."""

import weakref

import pytest
import torch
from tiny import explain, fresh_model, make_batch, relative_error, tiny_family, tiny_model

from hf_guidance.attributions import IntegratedGradients
from hf_guidance.attributions.targets import LabelLogit
from hf_guidance.forward import sizes

METHOD = IntegratedGradients(steps=6)


def forward_of(model, grad=False, **options):
    with torch.set_grad_enabled(grad):
        forward = explain(model, tiny_family("resnet"), make_batch(2), METHOD, **options)
        return forward, forward.attribution(METHOD).detach()


@pytest.mark.parametrize("rows", [2, 5, 12, None])
def test_maps_logits_fill_and_keep_are_the_same(rows):
    expected, maps = forward_of(tiny_model("resnet"), grad=True)
    forward, found = forward_of(tiny_model("resnet"), max_rows=rows)
    assert relative_error(found, maps) < 1e-12
    assert torch.equal(forward.keep(METHOD.path), expected.keep(METHOD.path))
    assert torch.equal(forward.fill(METHOD.path), expected.fill(METHOD.path))
    assert relative_error(forward.logits(METHOD.path), expected.logits(METHOD.path).detach()) < 1e-12
    again = forward.gradient("input", LabelLogit(), METHOD.path)  # after the logits, and from memory
    assert again.shape[:2] == (6, 2)


def test_one_graph_is_alive_at_a_time():
    model, alive, most = fresh_model("resnet"), [], []

    def note(module, args, output):
        alive.append(weakref.ref(output))
        most.append(sum(ref() is not None for ref in alive))

    model.resnet.embedder.register_forward_hook(note)
    forward_of(model, max_rows=4)
    assert len(most) == 1 + 3  # the full input, then 6 copies of 2 images by 4
    assert max(most) <= 2 + 1


def test_calls_are_sized_by_pixels():
    small, large = torch.zeros(1, 3, 56, 56), torch.zeros(1, 3, 4000, 4000)
    assert sizes.images_per_call(small) == 128
    assert sizes.images_per_call(large) == 1
    assert sizes.images_per_call(torch.zeros(3, 36, 2048)) > 100
    assert sizes.images_per_call(small, torch.device("cuda")) > 1000


def test_several_explained_rows_of_an_image():
    model, method = tiny_model("resnet"), METHOD
    batch = make_batch(2) | {"row": [0, 0, 1], "slot": [0, 1, 0], "target": torch.tensor([0, 2, 1])}
    with torch.no_grad():
        found = explain(model, tiny_family("resnet"), batch, method, max_rows=4).attribution(method)
    expected = explain(model, tiny_family("resnet"), batch, method).attribution(method).detach()
    assert relative_error(found, expected) < 1e-12
