"""Maps written once equal those of a forward of each row; what cannot be explained is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from extracting import PROCESSOR, ROWS, labels_of, maps_by_hand, pixels_of, rows_of
from tiny import BUILDERS, SIZE, tiny_model

from hf_guidance import GuidanceCollator
from hf_guidance.attributions import (
    ContrastLogits,
    GradCAM,
    InputXGradient,
    LabelLogit,
    PredictedLogit,
    SoftLabelLogits,
)
from hf_guidance.data import SavedMaps, YesNoCollator
from hf_guidance.evaluation import extract_maps


@pytest.mark.parametrize("name", BUILDERS)
def test_maps_of_every_family(tmp_path, rows, name):
    model = tiny_model(name)
    maps = extract_maps(model, rows, tmp_path, PROCESSOR, batch_size=3, shard_rows=4)
    by_hand = maps_by_hand(model, rows, GradCAM(), target=labels_of(rows))
    assert np.allclose(maps.taken(range(ROWS)), by_hand, rtol=1e-4, atol=1e-6)


def test_a_pooled_linear_head_is_the_class_activation_map(tmp_path, rows, model):
    with torch.no_grad():
        hidden = model.resnet(pixels_of(rows)).last_hidden_state
        weights = model.classifier[-1].weight[labels_of(rows)]
    expected = torch.einsum("nc,nchw->nhw", weights, hidden).clamp_min(0) / hidden[0, 0].numel()
    maps = extract_maps(model, rows, tmp_path, PROCESSOR)
    assert maps.shape == tuple(expected.shape[1:])
    assert np.allclose(maps.taken(range(ROWS)), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("method", [GradCAM("mid2"), InputXGradient("mid1"), InputXGradient("input"), "InputXGradient"])
def test_other_methods_and_layers(tmp_path, rows, model, method):
    maps = extract_maps(model, rows, tmp_path, PROCESSOR, attribution=method, batch_size=4)
    known = InputXGradient() if isinstance(method, str) else method
    by_hand = maps_by_hand(model, rows, known, target=labels_of(rows))
    assert np.allclose(maps.taken(range(ROWS)), by_hand, atol=1e-6)


def test_targets(tmp_path, rows, model):
    several = rows_of(labels=[[0, 1]] * ROWS)
    model.config.problem_type = "multi_label_classification"
    for target in (PredictedLogit(), SoftLabelLogits()):
        maps = extract_maps(model, several, tmp_path / str(target), PROCESSOR, attribution=GradCAM(target=target))
        hot = torch.tensor([[1.0, 1, 0]] * ROWS)
        by_hand = maps_by_hand(model, rows, GradCAM(target=target), labels=hot)
        assert np.allclose(maps.taken(range(ROWS)), by_hand, atol=1e-6)
    for target in (LabelLogit(), ContrastLogits()):
        attribution = GradCAM(target=target)
        with pytest.raises(ValueError, match=r"rows 0 to 6: .* explains the label of a row"):
            extract_maps(model, several, tmp_path / f"no {target}", PROCESSOR, attribution=attribution)
    model.config.problem_type = None
    unlabelled = rows.remove_columns("labels")
    with pytest.raises(ValueError, match="explains the label of a row"):
        extract_maps(model, unlabelled, tmp_path / "b", PROCESSOR)
    predicted = GradCAM(target=PredictedLogit())
    maps = extract_maps(model, unlabelled, tmp_path / "c", PROCESSOR, attribution=predicted)
    assert np.allclose(maps[2], maps_by_hand(model, rows, predicted)[2], atol=1e-6)


def test_the_model_and_the_generators_are_left_as_they_were(tmp_path, rows, model):
    model.train()
    model.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    maps = extract_maps(model, rows, tmp_path, PROCESSOR, batch_size=2)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.inference_mode():
        again = extract_maps(model.eval(), rows, tmp_path / "again", PROCESSOR)
    assert np.allclose(
        maps.taken(range(ROWS)), again.taken(range(ROWS)), atol=1e-6
    )  # in training, too, it was eval mode


def test_half_precision(tmp_path, rows, model):
    expected = extract_maps(model, rows, tmp_path / "full", PROCESSOR)
    maps = extract_maps(model.bfloat16(), rows, tmp_path / "half", PROCESSOR)
    assert maps[0].dtype == np.float32
    assert np.allclose(maps.taken(range(ROWS)), expected.taken(range(ROWS)), atol=0.02)


def test_lists_transforms_and_collators_give_the_same_maps(tmp_path, rows, model):
    expected = extract_maps(model, rows, tmp_path / "a", PROCESSOR).taken(range(ROWS))
    pixels = pixels_of(rows)
    listed = [
        {"pixel_values": one, "label": label} for one, label in zip(pixels, labels_of(rows).tolist(), strict=True)
    ]

    def process(batch):
        return {**batch, "pixel_values": list(PROCESSOR(images=batch["image"], return_tensors="pt")["pixel_values"])}

    for name, given, options in (
        ("b", listed, {}),
        ("c", rows.with_transform(process), {}),
        ("d", rows, {"collator": YesNoCollator(PROCESSOR, num_labels=3)}),
        ("e", rows, {"collator": GuidanceCollator(PROCESSOR, num_labels=3, transform=lambda *both: both)}),
    ):
        found = extract_maps(model, given, tmp_path / name, batch_size=3, **options).taken(range(ROWS))
        assert np.allclose(found, expected, atol=1e-6), name


def test_maps_of_several_sizes_are_refused(tmp_path, model):
    sizes = [(3, 32, 64), (3, 32, 64), (3, 64, 64), (3, 64, 64)]
    listed = [{"pixel_values": torch.rand(size), "label": 0} for size in sizes]
    with pytest.raises(ValueError, match=r"the maps from row 2 on are \(2, 2\) .* before \(1, 2\)"):
        extract_maps(model, listed, tmp_path / "a", batch_size=2)
    with pytest.raises(ValueError, match=r"maps-00001-of-00002\.arrow on are \(2, 2\)"):
        extract_maps(model, listed, tmp_path / "b", batch_size=2, shard_rows=2)
    with pytest.raises(ValueError, match="unfinished"):
        SavedMaps.from_folder(tmp_path / "b")


def noisy(batch):
    return {**batch, "pixel_values": [torch.rand(3, *SIZE) for _ in batch["image"]]}


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (lambda rows: rows.select([]), {}, "has no rows"),
        (lambda rows: rows.to_iterable_dataset(), {}, "rows have no numbers"),
        (lambda rows: rows.with_transform(noisy), {}, "random transform"),
        (lambda rows: rows, {"batch_size": 0}, "batch_size=0"),
        (lambda rows: rows, {"shard_rows": 1.5}, r"shard_rows=1\.5"),
        (lambda rows: rows, {"attribution": "GradCam"}, "attribution='GradCam' is unknown"),
        (lambda rows: rows, {"attribution": GradCAM("no_layer")}, "no_layer"),
        (lambda rows: rows, {"attribution": GradCAM("classifier.1")}, "places|number per place"),
        (lambda rows: rows, {"collator": YesNoCollator(PROCESSOR, num_labels=3)}, "give one of the two"),
        (lambda rows: rows, {"collator": 3, "processor": None}, "collator is a int"),
        (lambda rows: rows_of(labels=[[0, 1]] * ROWS), {}, "single-label"),
    ],
)
def test_bad_input_is_refused(tmp_path, rows, model, given, options, message):
    with pytest.raises(ValueError, match=message):
        extract_maps(model, given(rows), tmp_path, **({"processor": PROCESSOR} | options))
    assert not (tmp_path / "maps.json").exists()


def test_a_diverged_model_is_refused(tmp_path, rows, model):
    with torch.no_grad():
        model.classifier[-1].weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"row 0: GradCAM.* gives NaN or infinity"):
        extract_maps(model, rows, tmp_path, PROCESSOR)


def test_there_is_a_bar(tmp_path, rows, model, bars):
    extract_maps(model, rows, tmp_path, PROCESSOR)
    assert bars == ["reading rows", "extracting maps"]
