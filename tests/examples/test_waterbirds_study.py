"""The study of Waterbirds: what it remembers, and that docs/waterbirds.md shows what it printed."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from torch import nn

from hf_guidance.data.images.processed_pixels import ProcessedPixels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "studies"))
    return importlib.import_module


def test_what_is_known_is_not_computed_again(study):
    calls = []
    remembered = study("remembered").Remembered(
        lambda images: calls.append(len(images)) or images.sum((1, 2, 3))[:, None]
    )
    images = torch.rand(4, 3, 5, 5)
    first = remembered(images[:3])
    again = remembered(images[[3, 1, 1, 0]])
    assert calls == [3, 1]
    assert torch.equal(first, images[:3].sum((1, 2, 3))[:, None])
    assert torch.equal(again, images[[3, 1, 1, 0]].sum((1, 2, 3))[:, None])
    assert not first.requires_grad


def test_what_requires_a_gradient_is_computed_anew(study):
    remembered = study("remembered").Remembered(torch.square)
    images = torch.rand(2, 3, 5, 5)
    remembered(images)
    given = images.clone().requires_grad_()
    remembered(given).sum().backward()
    torch.testing.assert_close(given.grad, 2 * images)


@pytest.mark.parametrize("stages", [1, 2, None])
def test_a_network_gives_the_same_with_and_without(study, stages):
    torch.manual_seed(0)
    net = nn.Module()
    net.conv_stem, net.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    net.blocks = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 5, 3))
    net.eval().requires_grad_(False)
    images, known = torch.rand(3, 3, 9, 9), {}
    expected = net.blocks(net.bn1(net.conv_stem(images)))
    study("remembered").remember_blocks(SimpleNamespace(timm_model=net), known, stages)
    called = []
    net.blocks[1].register_forward_hook(lambda module, given, found: called.append(len(found)))
    for _ in range(2):
        torch.testing.assert_close(net.blocks(net.bn1(net.conv_stem(images))), expected)
    assert len(known) == 3
    assert called == [3, 3]
    assert {tuple(value.shape) for value in known.values()} == {(6, 5, 5) if stages == 1 else (5, 3, 3)}
    assert set(net.state_dict()) >= {"conv_stem.weight", "blocks.0.bias"}


def test_the_page_shows_what_the_study_printed(study):
    photos = study("waterbirds_photos")
    runs = photos.read_lines(ROOT / "tests" / "studies" / "waterbirds_photos.jsonl")
    tables = photos.all_tables(runs)
    page = (ROOT / "docs" / "waterbirds.md").read_text(encoding="utf-8")
    assert photos.with_tables(page, tables) == page
    shown = photos.with_tables(page, {name: [f"| {name} |"] for name in tables})
    assert [name for name in tables if name.startswith("table") and shown.count(f"| {name} |") != 1] == []
    assert "|" not in photos.with_tables(page, dict.fromkeys(tables, ()))  # no line of a table comes from elsewhere


@pytest.mark.parametrize("arm", ["erm_as_long", "energy_views", "energy_views, random boxes"])
def test_the_readme_has_the_figures_of_the_table(study, arm):
    photos = study("waterbirds_photos")
    runs = photos.read_lines(ROOT / "tests" / "studies" / "waterbirds_photos.jsonl")
    (cell,) = (cell for cell in photos.SETS["main"] if cell.name == arm)
    worst = [100 * line["worst_group_accuracy"] for line in photos.runs_of(cell, runs)]
    assert len(worst) == 3
    assert f" {np.mean(worst):.1f} %" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_photographs_are_read_and_processed_once(study, tmp_path):
    """By path and by content; what comes of it is equal to what comes without."""
    remembered = study("remembered")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(file)
    rows = Dataset.from_dict({"image": list(map(str, files))}).cast_column("image", datasets.Image())
    calls = []

    def processor(images, return_tensors):
        calls.append(len(images))
        return {"pixel_values": torch.stack([torch.tensor(np.array(image.resize((8, 8)))) for image in images])}

    pixels = ProcessedPixels(processor)
    expected = pixels.of(rows["image"][:])
    decoded, processed = {}, {}
    for _ in range(2):
        with remembered.remembered_photos(decoded, processed):
            assert torch.equal(pixels.of([rows[place]["image"] for place in (0, 1, 2)]), expected)
            assert torch.equal(pixels.of([rows[2]["image"], rows[2]["image"]]), expected[[2, 2]])
    assert calls == [3, 3]
    assert len(decoded) == len(processed) == 3
    assert torch.equal(pixels.of([rows[1]["image"]]), expected[1:2])
    assert calls == [3, 3, 1]  # outside, as ever


def test_settings_are_those_of_the_best_worst_group_of_the_first_half(study):
    photos = study("waterbirds_photos")
    runs = photos.read_lines(ROOT / "tests" / "studies" / "waterbirds_photos.jsonl")
    methods = study("waterbirds_methods").METHODS
    chosen = photos.chosen(runs, photos.CHOICES)
    for (task, method), settings in chosen.items():
        if method == "erm":  # has no weight
            assert methods[method].settings(task)[1] == settings[1]
        else:
            assert (task, method, methods[method].settings(task)) == (task, method, settings)
    assert len(chosen) > 10


def test_what_is_chosen_or_timed_has_one_seed(study):
    photos = study("waterbirds_photos")
    wanted = photos.wanted(["decay", "choice_inside", "minutes"], 2)
    seeds = {name: {seed for found, seed, _ in wanted if found == name} for name, _, _ in wanted}
    assert seeds == {"decay": {0, 1}, "choice_inside": {0}, "minutes": {0}}
    assert [cell for name, seed, cell in wanted if (name, seed) == ("decay", 1)] == photos.SETS["decay"]


def test_runs_are_found_again(study):
    photos = study("waterbirds_photos")
    runs = photos.read_lines(ROOT / "tests" / "studies" / "waterbirds_photos.jsonl")
    cells = [vars(cell) for cells in photos.SETS.values() for cell in cells]
    assert runs
    assert [line["cell"] for line in runs if line["cell"] not in cells] == []
    keys = [(tuple(line["cell"].values()), line["seed"]) for line in runs]
    assert len(set(keys)) == len(keys)
