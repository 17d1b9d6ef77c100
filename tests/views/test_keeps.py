"""Keeps and Replace functions for boxes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from toy_vqa import OBJECTS, TOY_FAMILY, region_batch, region_family, region_model

from hf_guidance.attributions import Gradient, IntegratedGradients, LeaveOneOut
from hf_guidance.forward import Forward
from hf_guidance.guidance.serialization import from_plain, to_plain
from hf_guidance.views import (
    FULL,
    Coalitions,
    Flip,
    Important,
    ImportantOrRandom,
    MostAttributed,
    Nothing,
    OneBox,
    Path,
    RandomKeep,
    ShuffleImportant,
    View,
    gaussian,
    gaussian_noise,
    marginal,
    negative_ones,
    zeros,
)
from hf_guidance.views.coalitions import distinct_coalitions

KEEPS = [
    ImportantOrRandom(),
    RandomKeep(),
    Nothing(),
    OneBox(),
    OneBox(budget=2),
    OneBox(leave_out=True),
    Coalitions(7),
    Coalitions(3),
    Flip(),
    Path(4),
    Path(4, random=True),
    MostAttributed(Gradient()),
]


def step(importance, real=None):
    """What a keep reads of a Forward, of many images at once."""
    return SimpleNamespace(
        images=len(importance),
        importance=lambda column, space: importance,
        of_images=lambda values: values,
        real_places=lambda space: real,
    )


@pytest.mark.parametrize("keep", KEEPS, ids=repr)
def test_masks_have_a_copy_axis_and_broadcast(keep):
    needs = frozenset({(FULL, "logits"), (View(keep), "logits")})
    forward = Forward(region_model("toy"), TOY_FAMILY, region_batch(), needs)
    mask = forward.keep(View(keep))
    assert mask.dim() == 3
    assert mask.shape[1] in (1, 3)
    assert mask.shape[2] in (1, OBJECTS)
    assert forward.logits(View(keep)).shape == (len(mask), 3, 6)
    assert (mask.dtype == torch.bool) == (not isinstance(keep, Path))


@pytest.mark.parametrize("keep", KEEPS, ids=repr)
def test_keeps_round_trip(keep):
    assert from_plain(json.loads(json.dumps(to_plain(View(keep))))) == View(keep)


@pytest.mark.parametrize("keep", [RandomKeep(), ImportantOrRandom(), Coalitions(7), Path(4, random=True)], ids=repr)
def test_random_views_are_drawn_once_a_step_by_draw(keep):
    batch = region_batch(images=16)
    views = [View(keep, draw=draw) for draw in (0, 1)]
    needs = frozenset({(FULL, "logits"), *((view, "logits") for view in views)})

    def masks():
        forward = Forward(region_model("toy"), TOY_FAMILY, batch, needs)
        assert forward.keep(views[0]) is forward.keep(View(keep))
        return [forward.keep(view) for view in views]

    torch.manual_seed(0)
    first, second = masks(), masks()
    torch.manual_seed(0)
    again = masks()
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_important_or_random_keeps_what_is_important_and_a_part_drawn_uniformly():
    images, boxes = 6000, 5
    importance = torch.zeros(images, boxes)
    importance[:, 0] = 1
    keep = ImportantOrRandom()(step(importance), (boxes,))[0]
    assert keep[:, 0].all()
    # p uniform over {0, 1/4, ..., 1}: each kept half the time, and the number kept is spread far wider than binomial.
    counts = torch.bincount(keep[:, 1:].sum(1), minlength=5) / images
    mixture = [np.mean([binom.pmf(k, 4, p / 4) for p in range(5)]) for k in range(5)]
    assert np.allclose(counts.numpy(), mixture, atol=0.025)


def test_important_or_random_at_the_extremes():
    importance = torch.tensor([[0.0, 0.2, 0.5], [1.0, 0.9, 0.8]])
    keep = ImportantOrRandom()(step(importance), (3,))[0]
    assert keep.tolist() == [[False] * 3, [True] * 3]  # nothing important; nothing unimportant


def test_padding_does_not_count_as_unimportant():
    """With one real unimportant box p is 0 or 1, whatever the padding."""
    importance = torch.zeros(4000, 6)
    importance[:, 0] = 1
    real = torch.zeros(4000, 6, dtype=torch.bool)
    real[:, :2] = True
    keep = ImportantOrRandom()(step(importance, real), (6,))[0]
    assert keep[:, 1].float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert (keep[:, 1:].all(1) | ~keep[:, 1:].any(1)).all()
    one = OneBox(budget=3)(step(importance, real), (6,))
    assert not one[..., 2:].any()
    assert (one.sum(2) == 1).all()


def test_random_keeps_drop_the_given_shares():
    keep = RandomKeep(drop=(0.0, 0.5), copies=2)(step(torch.zeros(4000, 40)), (40,))
    assert keep.shape == (2, 4000, 40)
    whole = keep.all(2)
    assert whole.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert keep[~whole].float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_one_box_in_and_out():
    alone, without = OneBox()(step(torch.zeros(2, 4)), (4,)), OneBox(leave_out=True)(step(torch.zeros(2, 4)), (4,))
    assert torch.equal(alone[:, 0], torch.eye(4, dtype=torch.bool))
    assert torch.equal(without, ~alone)
    drawn = OneBox(budget=3)(step(torch.zeros(5000, 4)), (4,))
    assert torch.allclose(drawn.float().mean((0, 1)), torch.full((4,), 0.25), atol=0.02)


@pytest.mark.parametrize("space", [(6,), (2, 3)])
def test_coalitions_are_distinct_and_shared(space):
    keep = Coalitions(20)(step(torch.zeros(3, 6)), space)
    assert keep.shape == (20, 1, *space)
    flat = keep.flatten(1)
    assert flat[0].all()
    assert len(flat.unique(dim=0)) == 20
    assert flat.any(1).all()
    few = Coalitions(3)(step(torch.zeros(3, 6)), space).flatten(1)
    assert few.any(0).sum() == few[0].sum() == 3


@pytest.mark.parametrize(("count", "places"), [(2, 1), (3, 2), (4, 2), (9, 3), (30, 5), (31, 5), (40, 5), (1000, 36)])
def test_every_coalition_is_there_once(count, places):
    rows, possible = distinct_coalitions(count, places), 2**places
    assert rows.shape == (min(count, possible), places)
    assert len(rows.unique(dim=0)) == len(rows)
    assert rows[0].all()
    assert rows[: possible - 1].any(1).all()


def test_flips_differ_in_one_box():
    keep = Flip()(step(torch.zeros(3, 6)), (6,))
    assert (keep[0] ^ keep[1]).sum() == 1


def test_most_attributed_keeps_the_share_with_the_highest_attribution():
    batch, keep = region_batch(images=200), MostAttributed(Gradient(), (0.4,))
    forward = Forward(region_model("toy"), TOY_FAMILY, batch, frozenset({(View(keep), "logits")}))
    maps, mask = forward.attribution(Gradient()), forward.keep(View(keep))[0]
    assert (mask.sum(1) == 2).all()
    assert (maps.masked_fill(~mask, torch.inf).amin(1) > maps.masked_fill(mask, -torch.inf).amax(1)).all()
    both = MostAttributed(Gradient(), (0.9, 0.5, 1.0, 0.0))
    forward = Forward(region_model("toy"), TOY_FAMILY, batch, frozenset({(View(both), "logits")}))
    assert set(forward.keep(View(both))[0].sum(1).tolist()) == {4, 2, 5, 0}  # int(5 * share)


def test_most_attributed_reads_the_full_input_only():
    with pytest.raises(ValueError, match=r"LeaveOneOut.*full input only"):
        MostAttributed(LeaveOneOut())
    with pytest.raises(ValueError, match="full input only"):
        MostAttributed(IntegratedGradients())
    with pytest.raises(ValueError, match="is not an attribution"):
        MostAttributed(None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomKeep(drop=()), r"RandomKeep\(drop=\(\)\).*at least one share"),
        (lambda: RandomKeep(drop=(0.1, 1.5)), r"1\.5.*\[0, 1\]"),
        (lambda: RandomKeep(copies=0), r"copies=0"),
        (lambda: MostAttributed(Gradient(), (2.0,)), r"shares=\(2\.0,\)"),
        (lambda: OneBox(budget=1.5), r"budget=1\.5"),
        (lambda: Coalitions(1), r"count=1"),
        (lambda: Path(0, random=True), r"at least 1"),
        (lambda: ShuffleImportant()(torch.zeros(2, 4, 3), None), "importance"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Recorded:
    """The random draws of a golden case, in the place of torch's."""

    def __init__(self, data, index, monkeypatch):
        self.arrays = {n.split("__", 1)[1]: data[n] for n in data.files if n.startswith(f"c{index}__")}
        features = self["inputs"].transpose(1, 2)
        if "normal_sample" in self.arrays:
            ours = self.variant == "gaussian-ours"
            drawn = (self["normal_sample"] - (features.mean() if ours else 0)) / features.std()
            monkeypatch.setattr(torch, "randn_like", lambda like: drawn.transpose(1, 2))
        if self.variant == "random_sample":
            order = self["randperm_0"].long()
            monkeypatch.setattr(torch, "randperm", lambda count, device=None: order)
        if self.variant == "shuffle":
            keys = iter(self.keys_of_permutations())
            monkeypatch.setattr(torch, "rand", lambda size, device=None: next(keys))

    def __getitem__(self, name):
        return torch.from_numpy(np.asarray(self.arrays[name], dtype=np.float64))

    @property
    def variant(self):
        return json.loads(str(self.arrays["variant"]))["f"]

    def keys_of_permutations(self):
        """Numbers that sort into the recorded permutations: of the kept boxes, then of the channels, per image."""
        mask = self["mask"][..., 0].bool()
        boxes, channels, drawn = torch.zeros(mask.shape), torch.zeros(len(mask), self["inputs"].shape[2]), 0
        for image in range(len(mask)):
            if not mask[image].any():
                channels[image] = torch.arange(channels.shape[1])
                continue
            rows, columns = (self[f"randperm_{drawn + i}"].long() for i in range(2))
            places = mask[image].nonzero()[:, 0]
            boxes[image, places[rows]] = torch.arange(len(rows)) / len(rows)
            channels[image, columns] = torch.arange(len(columns)) / len(columns)
            drawn += 2
        return boxes, channels


REPLACE = {
    "0s": zeros, "negative_ones": negative_ones, "random_sample": marginal, "gaussian-singla": gaussian_noise,
    "gaussian-ours": gaussian, "shuffle": ShuffleImportant(),
}  # fmt: skip


@pytest.mark.parametrize("index", range(12))
def test_replace_functions(golden, agree, monkeypatch, index):
    """Values, and gradients in the features."""
    case, file = Recorded(golden("visfis/replace_functions"), index, monkeypatch), "visfis/replace_functions"
    features, mask = case["inputs"].requires_grad_(), case["mask"][..., 0]
    replace = REPLACE[case.variant]
    view = View(Important(invert=case.variant == "shuffle"), replace)
    keep = view.keep(step(mask), (5,))
    fill = replace(features.transpose(1, 2), mask)
    fill = fill.transpose(1, 2) if fill.dim() else fill
    output = TOY_FAMILY.blend(features, keep, fill, first=True)
    agree(file, output, case["output"])
    (gradient,) = torch.autograd.grad((output * case["w"]).sum(), features)
    agree(file, gradient, case["grad_inputs_of_sum_w_output"])


def test_shuffled_important_boxes_stay_among_themselves():
    features, importance = torch.randn(6, 4, 5), (torch.rand(6, 5) > 0.4).float()
    fill = ShuffleImportant()(features, importance)
    for image in range(6):
        inside = importance[image] > 0.5
        assert torch.equal(fill[image][:, ~inside], features[image][:, ~inside])
        assert torch.allclose(fill[image][:, inside].sort().values.sum(), features[image][:, inside].sum())


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_padded_places_are_known(name):
    forward = Forward(
        region_model(name), region_family(name), region_batch(padding=True), frozenset({(FULL, "logits")})
    )
    real = forward.real_places((OBJECTS,))
    assert real.sum() == 3 * OBJECTS - 1
    assert forward.real_places((OBJECTS + 1,)) is None
