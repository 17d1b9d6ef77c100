"""Training of the last layer: equal to training it on the network, features in memory and in files, settings."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import BUILDERS, fresh_model, make_batch
from torch import nn
from torch.utils.data import DataLoader

from hf_guidance import Family
from hf_guidance.training.pruning import (
    HeadTraining,
    PooledFeatures,
    fine_tune_head,
    pooled_features,
    prune_channels,
    pruning_settings,
)

KEEP = torch.arange(20) % 3 > 0
TRAINING = HeadTraining(
    0.05, "sgd", weight_decay=0.01, momentum=0.9, epochs=4, batch_size=2, decay_after=2, decay_factor=0.2
)


def batches():
    return [make_batch(3, seed=seed) for seed in range(3)]


def pruned_model():
    model = fresh_model("resnet")
    prune_channels(model, KEEP)
    return model


def on_the_network(model, training):
    """The same, with a call of the whole network in every step."""
    images = torch.cat([batch["pixel_values"] for batch in batches()])
    labels = torch.cat([batch["labels"] for batch in batches()])
    head, generator = model.classifier[1], torch.Generator().manual_seed(training.seed)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[training.optimizer]
    options = {"momentum": training.momentum} if training.optimizer == "sgd" else {}
    optimizer = kind(head.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, **options)
    for epoch in range(training.epochs):
        if epoch == training.decay_after:
            optimizer.param_groups[0]["lr"] *= training.decay_factor
        for part in torch.randperm(len(labels), generator=generator).split(training.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(pixel_values=images[part]).logits, labels[part], reduction="sum").backward()
            optimizer.step()


@pytest.mark.parametrize("training", [TRAINING, HeadTraining(0.01, "adam", 0.1, epochs=3, batch_size=4)])
@pytest.mark.parametrize("mapped", [False, True])
def test_equal_to_training_on_the_network(training, mapped, tmp_path):
    model, other = pruned_model(), pruned_model()
    on_the_network(other, training)
    features = pooled_features(model, batches(), tmp_path / "features" if mapped else None)
    assert isinstance(features.values, np.memmap) == mapped
    rows = fine_tune_head(model, features, training)
    assert [row["epoch"] for row in rows] == list(range(1, training.epochs + 1))
    assert rows[-1]["loss"] < rows[0]["loss"]
    own, theirs = model.state_dict(), other.state_dict()
    assert all(torch.allclose(value, theirs[name]) for name, value in own.items())
    assert not model.classifier[1].weight[:, ~KEEP].any()


@pytest.mark.parametrize("name", sorted(BUILDERS.keys() - {"bcos_resnet"}))
def test_every_family_has_a_last_layer(name):
    model = fresh_model(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    features = pooled_features(model, batches())
    assert features.values.shape[0] == len(features.labels) == 9
    (row,) = fine_tune_head(model, features, HeadTraining(1e-3, epochs=1))
    assert torch.isfinite(torch.tensor(row["loss"]))
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith(features.head)}


def test_half_precision_trains_in_full_precision():
    model = pruned_model().bfloat16()
    features = pooled_features(model, batches())
    assert features.values.dtype == np.float32
    fine_tune_head(model, features, HeadTraining(0.01, epochs=2))
    assert model.classifier[1].weight.dtype == torch.bfloat16


def test_files(tmp_path):
    model = pruned_model()
    features = pooled_features(model, batches(), tmp_path / "features")
    again = PooledFeatures.load(tmp_path / "features")
    in_memory = pooled_features(model, batches())
    for found in (features, again):
        assert np.array_equal(found.values, in_memory.values)
        assert np.array_equal(found.labels, in_memory.labels)
        assert (found.head, found.model) == (in_memory.head, in_memory.model)
    fine_tune_head(model, again, TRAINING)
    again.check(model)  # the last layer does not count


def cut(folder):
    file = folder / "features.bin"
    file.write_bytes(file.read_bytes()[:-8])


def renamed(folder):
    facts = json.loads((folder / "features.json").read_text())
    (folder / "features.json").write_text(json.dumps(facts | {"dtype": "object"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "bytes and labels.npy 9 labels, but 9 images with 20 channels"),
        (renamed, "must have"),
        (lambda folder: (folder / "labels.npy").unlink(), "has no labels.npy"),
    ],
)
def test_damaged_files(tmp_path, damage, message):
    pooled_features(pruned_model(), batches(), tmp_path / "features")
    damage(tmp_path / "features")
    with pytest.raises(ValueError, match=message):
        PooledFeatures.load(tmp_path / "features")


def test_what_breaks_off_leaves_nothing(tmp_path):
    def broken():
        yield make_batch()
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        pooled_features(pruned_model(), broken(), tmp_path / "features")
    assert not list(tmp_path.iterdir())


def test_features_of_another_model_or_mask_are_refused():
    model = pruned_model()
    features = pooled_features(model, batches())
    with pytest.raises(ValueError, match="trained or pruned since"):
        fine_tune_head(fresh_model("resnet"), features, TRAINING)
    prune_channels(model, KEEP & (torch.arange(20) != 1))
    with pytest.raises(ValueError, match="trained or pruned since"):
        fine_tune_head(model, features, TRAINING)


def with_labels(labels):
    return [make_batch() | {"labels": labels}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no image"),
        (with_labels(None), "labels of NoneType"),
        (with_labels(torch.rand(3, 3)), r"shape \(3, 3\)"),
        (with_labels(torch.tensor([0, 1, 3])), "classes 0 to 2"),
        (with_labels(torch.tensor([0, 1, -100])), "classes 0 to 2"),
    ],
)
def test_batches_that_are_refused(given, message, tmp_path):
    for folder in (None, tmp_path / "features"):
        with pytest.raises(ValueError, match=message):
            pooled_features(pruned_model(), given, folder)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="shuffles"):
        pooled_features(pruned_model(), DataLoader([make_batch()], shuffle=True))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.one, self.two = nn.Identity(), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, pixel_values):
        pooled = self.layer(pixel_values).mean((2, 3))
        return {"logits": (self.one(pooled) + self.two(pooled)) / 2}


def test_heads_of_several_parts_are_refused():
    with pytest.raises(ValueError, match="TwoHeads has 0 Linear modules that put out the logits"):
        pooled_features(TwoHeads().double(), batches(), family=Family(layers={"final": "layer"}))
    with pytest.raises(ValueError, match="has 0 Linear modules"):
        pooled_features(fresh_model("bcos_resnet"), batches())


def test_a_diverged_training_leaves_the_model():
    model = pruned_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    features = pooled_features(model, batches())
    with pytest.raises(ValueError, match=r"smaller learning_rate.*unchanged"):
        fine_tune_head(model, features, HeadTraining(1e200, "sgd", weight_decay=1.0, epochs=5, batch_size=2))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_epochs_are_reported():
    model, seen = pruned_model(), []
    features = pooled_features(model, batches())
    rows = fine_tune_head(
        model, features, TRAINING, lambda epoch, head, row: seen.append((epoch, head.in_features, row))
    )
    assert seen == [(epoch, 20, row) for epoch, row in enumerate(rows, 1)]


def test_settings_of_the_paper():
    waterbirds = pruning_settings("waterbirds")
    assert (waterbirds.optimizer, waterbirds.learning_rate, waterbirds.epochs, waterbirds.batch_size) == (
        "sgd",
        5e-5,
        5,
        128,
    )
    assert (waterbirds.decay_after, waterbirds.decay_factor, waterbirds.momentum) == (4, 0.2, 0.0)
    assert pruning_settings("waterbirds", "paper").epochs == 10
    celeba = pruning_settings("biased_celeba")
    assert celeba == pruning_settings("biased_celeba", "paper") == HeadTraining(5e-6, "adam", 1e-4, 0.0, 50, 64, 3, 0.5)
    assert pruning_settings("imagenet9") == HeadTraining(5e-6, "adam", 0.1, epochs=10, batch_size=256)
    assert pruning_settings("imagenet9", "paper").learning_rate == 1e-6
    for wrong in (("birds",), ("waterbirds", "code")):
        with pytest.raises(ValueError, match="choose one of"):
            pruning_settings(*wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"optimizer": "adamw"}, {"weight_decay": -1.0},
        {"momentum": 1.0}, {"epochs": 0}, {"batch_size": 0}, {"decay_after": 0}, {"decay_factor": 0.0}, {"momentum": 0.9},
    ],
)  # fmt: skip
def test_settings_that_are_refused(change):
    name = next(iter(change))
    with pytest.raises(ValueError, match=name):
        HeadTraining(**({"learning_rate": 0.1} | change))
