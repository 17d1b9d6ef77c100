"""Needs: what a method reads, in the order of declaration; views are drawn in it."""

import pytest
import torch
from toy_vqa import region_batch, region_family, region_model

from hf_guidance.forward import Forward
from hf_guidance.views import FULL, Coalitions, Important, Needs, Nothing, RandomKeep, View
from hf_guidance.views.order import layers_by_view

FIRST, SECOND = View(RandomKeep((0.5,))), View(Coalitions(4))  # by their text the second would come first


def test_they_keep_the_order_of_declaration():
    assert repr(SECOND) < repr(FIRST)
    both = Needs([(FIRST, "logits"), (SECOND, "logits"), (FIRST, "logits")])
    assert list(both) == [(FIRST, "logits"), (SECOND, "logits")]
    assert list(Needs([(SECOND, "logits")]) | both) == [(SECOND, "logits"), (FIRST, "logits")]
    assert list(layers_by_view(both)) == [FULL, FIRST, SECOND]


@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)])
def test_views_are_drawn_in_it(order):
    """The masks are those that the keeps draw one after the other, as declared, from the global generator."""
    model, family, batch = region_model("updn"), region_family("updn"), region_batch()
    torch.manual_seed(3)
    forward = Forward(model, family, batch, Needs((view, "logits") for view in order))
    found = [forward.keep(view) for view in order]
    torch.manual_seed(3)
    space = tuple(found[0].shape[2:])
    for view, keep in zip(order, found, strict=True):
        assert torch.equal(view.keep(forward, space), keep)


def test_they_are_a_set():
    needs = Needs([(FULL, "logits"), (FIRST, "logits")])
    assert needs == {(FIRST, "logits"), (FULL, "logits")}
    assert hash(needs) == hash(Needs(reversed(list(needs))))
    assert (FULL, "logits") in needs
    assert (FULL, "input") not in needs
    assert len(needs | {(FULL, "input")}) == len({(FULL, "input")} | needs) == 3
    assert list(Needs().union(needs, [(FULL, "input")])) == [*needs, (FULL, "input")]
    assert isinstance(frozenset() | needs, Needs)


def test_a_plain_set_is_taken_in_the_order_of_its_text():
    views = [View(Important(0.5)), View(Nothing()), FIRST, SECOND]
    wanted = sorted(((view, "logits") for view in views), key=repr)
    assert list(Needs(frozenset((view, "logits") for view in views))) == wanted
    assert not any("0x" in repr(view) for view in views)
