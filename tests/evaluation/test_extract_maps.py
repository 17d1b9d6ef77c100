"""Maps written once: equal to those of a forward of each row, whole or absent after any kill, never mixed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from kills import KILLED, kill_before
from PIL import Image
from tiny import BUILDERS, SIZE, tiny_model
from transformers import ViTImageProcessor

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
from hf_guidance.evaluation.extraction import shards as shards_file
from hf_guidance.families import family_of
from hf_guidance.forward import Forward

PROCESSOR = ViTImageProcessor(size={"height": SIZE[0], "width": SIZE[1]})
ROWS = 7


def rows_of(count=ROWS, **columns):
    label = datasets.ClassLabel(num_classes=3)
    features = datasets.Features(
        image=datasets.Image(), image_id=datasets.Value("string"), labels=datasets.List(label), mask=datasets.Image(),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(count)]
    given = {"image": pictures, "image_id": [str(i) for i in range(count)], "labels": [[i % 3] for i in range(count)]}
    return datasets.Dataset.from_dict(given | {"mask": pictures} | columns, features=features)


def pixels_of(rows):
    return PROCESSOR(images=list(rows["image"]), return_tensors="pt")["pixel_values"]


def maps_by_hand(model, rows, method, **columns):
    """The maps of one forward of all rows."""
    batch = {"pixel_values": pixels_of(rows).to(next(model.parameters()).dtype)} | columns
    with torch.no_grad():
        return Forward(model, family_of(model), batch, method.needs()).attribution(method).float().numpy()


def labels_of(rows):
    return torch.tensor([labels[0] for labels in rows["labels"]])


@pytest.fixture
def rows():
    return rows_of()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BUILDERS["resnet"]().eval()


@pytest.fixture
def no_model(monkeypatch):
    """Calls of the model fail."""

    def refused(*_, **__):
        raise AssertionError("the model was called")

    monkeypatch.setattr("hf_guidance.evaluation.extraction.batches.Forward", refused)


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


def test_nothing_is_computed_twice(tmp_path, rows, model, no_model, monkeypatch):
    with monkeypatch.context() as allowed:
        allowed.setattr("hf_guidance.evaluation.extraction.batches.Forward", Forward)
        maps = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3)
    again = extract_maps(model, rows, tmp_path, PROCESSOR, batch_size=1, shard_rows=5)
    assert again.fingerprint == maps.fingerprint
    again.check(model, rows)


@pytest.mark.parametrize("damage", ["missing", "cut", "other rows"])
def test_a_missing_or_damaged_shard_alone_is_made_again(tmp_path, rows, model, monkeypatch, damage):
    expected = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3).taken(range(ROWS))
    shard, other = tmp_path / "maps-00001-of-00003.arrow", tmp_path / "maps-00000-of-00003.arrow"
    content = shard.read_bytes()
    shard.unlink()
    if damage != "missing":
        shard.write_bytes(content[: len(content) // 2] if damage == "cut" else other.read_bytes())
    calls = []
    monkeypatch.setattr(
        "hf_guidance.evaluation.extraction.batches.Forward",
        lambda *given, **options: (calls.append(1), Forward(*given, **options))[1],
    )
    maps = extract_maps(model, rows, tmp_path, PROCESSOR)
    assert np.array_equal(maps.taken(range(ROWS)), expected)
    assert len(calls) == 1


def others(model, rows):
    """What differs -> model, rows and options of another extraction."""
    torch.manual_seed(7)
    changed = BUILDERS["resnet"]()
    larger = ViTImageProcessor(size={"height": 64, "width": 64})
    return {
        "model": (changed, rows, {"processor": PROCESSOR}),
        "attribution": (model, rows, {"processor": PROCESSOR, "attribution": GradCAM(relu=False)}),
        "layer": (model, rows, {"processor": PROCESSOR, "attribution": GradCAM("mid2")}),
        "rows": (model, rows.select([1, 0, *range(2, ROWS)]), {"processor": PROCESSOR}),
        "processor": (model, rows, {"processor": larger}),
        "arguments": (model, rows, {"processor": PROCESSOR, "model_arguments": {"output_hidden_states": True}}),
    }


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("name", ["model", "attribution", "layer", "rows", "processor", "arguments"])
def test_maps_of_something_else_are_refused(tmp_path, rows, model, no_model, monkeypatch, name, finished):
    with monkeypatch.context() as allowed:
        allowed.setattr("hf_guidance.evaluation.extraction.batches.Forward", Forward)
        extract_maps(model, rows, tmp_path, PROCESSOR)
    if not finished:
        facts = json.loads((tmp_path / "maps.json").read_text())
        (tmp_path / "unfinished.json").write_text(json.dumps(facts))
        (tmp_path / "maps.json").unlink()
    other, other_rows, options = others(model, rows)[name]
    with pytest.raises(ValueError, match=rf"made of something else \(.*{name}: .* there, .* given"):
        extract_maps(other, other_rows, tmp_path, **options)


def test_overwriting_deletes_what_is_there_and_nothing_else(tmp_path, rows, model):
    extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=2)
    (tmp_path / "answers.json").write_text("[]")
    maps = extract_maps(model, rows.select(range(3)), tmp_path, PROCESSOR, shard_rows=2, overwrite=True)
    assert len(maps) == 3
    names = {"maps-00000-of-00002.arrow", "maps-00001-of-00002.arrow", "maps.json", "answers.json"}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_shards_without_a_list_are_not_trusted(tmp_path, rows, model):
    torch.manual_seed(7)
    extract_maps(BUILDERS["resnet"](), rows, tmp_path, PROCESSOR, shard_rows=3)
    (tmp_path / "maps.json").unlink()
    maps = extract_maps(model, rows, tmp_path, PROCESSOR, shard_rows=3)
    expected = maps_by_hand(model, rows, GradCAM(), target=labels_of(rows))
    assert np.allclose(maps.taken(range(ROWS)), expected, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test copies its process, which this system cannot")
def test_a_kill_at_any_moment_loses_one_shard_at_most(tmp_path, rows, model):
    expected = extract_maps(model, rows, tmp_path / "whole", PROCESSOR, shard_rows=3).taken(range(ROWS))
    operation, status = 0, KILLED
    while status == KILLED:
        operation += 1
        folder = tmp_path / str(operation)
        status = kill_before(operation, folder, lambda: extract_maps(model, rows, folder, PROCESSOR, shard_rows=3))  # noqa: B023
        before = {file.name: file.stat().st_mtime_ns for file in folder.glob("maps-*.arrow")}
        if status == KILLED and not (folder / "maps.json").exists():
            with pytest.raises(ValueError, match=r"unfinished|holds no maps"):
                SavedMaps.from_folder(folder)
        maps = extract_maps(model, rows, folder, PROCESSOR, shard_rows=3)
        assert np.array_equal(maps.taken(range(ROWS)), expected)
        assert {name: (folder / name).stat().st_mtime_ns for name in before} == before  # whole shards are kept
        assert len(list(folder.iterdir())) == 4
    assert status == 0
    assert operation > 8


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


def test_no_draft_is_read(tmp_path, rows, model, monkeypatch):
    """A shard that fails while it is written leaves nothing behind."""

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(shards_file, "write_shard", full)
    with pytest.raises(OSError, match="no space"):
        extract_maps(model, rows, tmp_path, PROCESSOR)
    assert [file.name for file in tmp_path.iterdir()] == ["unfinished.json"]


@pytest.mark.slow  # two processes import everything
def test_two_processes_write_what_one_does(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent, here.parents[1])))
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    run = subprocess.run(
        [sys.executable, *launcher, str(here / "distributed_maps.py"), str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    from distributed_maps import extracted

    one, two = extracted(tmp_path / "one"), SavedMaps.from_folder(tmp_path / "two")
    assert two.fingerprint == one.fingerprint
    assert np.allclose(two.taken(range(ROWS)), one.taken(range(ROWS)), atol=1e-6)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["0 2", "1 3"]
