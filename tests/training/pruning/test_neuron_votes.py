"""Votes of channels, the paper's file of neurons, and drawn neurons."""

import json

import numpy as np
import pytest
import torch

from hf_guidance.evaluation.patches import Patch, PatchTable
from hf_guidance.training.pruning import neuron_votes, read_neurons, sampled_neurons, write_neurons

A, B, C, D, E = (Patch(image, image, 0) for image in range(5))


def table_of(*channels):
    image = np.array([[patch.image for patch in channel] for channel in channels])
    return PatchTable("final", 5, (5, 5), (5, 5), (1, 1), image, image, image * 0, image * 0.0, "some model")


TABLE = table_of((A, B, C, D), (C, D, E, A), (E, D, B, A))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, (True, True, True)),
        ({A: "no"}, (False, True, True)),
        ({A: "no", B: "yes"}, (True, True, True)),  # a tie stays
        ({C: "no"}, (False, False, True)),  # shared
        ({A: "maybe", B: None, C: "maybe"}, (True, True, True)),
        ({B: "no", C: "no", D: "yes", E: "yes"}, (False, True, True)),
        ({A: "yes", B: "yes", C: "no", D: "no", E: "no"}, (True, False, False)),
        ([(A, "no"), (A, "no"), (B, "yes")], (True, True, True)),  # one answer twice counts once
        ([((0, 0, 0), "no")], (False, True, True)),
    ],
)
def test_votes(answers, expected):
    assert neuron_votes(TABLE, answers).tolist() == list(expected)


def test_only_some_neurons_are_asked_about():
    answers = {A: "no", B: "no", C: "no", D: "no", E: "no"}
    assert neuron_votes(TABLE, answers, neurons=[1]).tolist() == [True, False, True]
    assert neuron_votes(TABLE, answers, neurons=[]).tolist() == [True, True, True]
    assert neuron_votes(TABLE, {A: "no"}, shown=4).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("answers", "options", "message"),
    [
        ({A: "No"}, {}, "answer 'No'; give one of"),
        ({Patch(9, 0, 0): "no"}, {}, "not among the patches"),
        ([(A, "no"), (A, "yes")], {}, "answered 'no' and 'yes'; settle"),
        ({}, {"neurons": [3]}, "there are 3 channels"),
    ],
)
def test_answers_that_are_refused(answers, options, message):
    with pytest.raises(ValueError, match=message):
        neuron_votes(TABLE, answers, **options)


def test_drawn_neurons():
    few, many = sampled_neurons(2048, 100, seed=3), sampled_neurons(2048, 500, seed=3)
    assert len(set(few)) == 100
    assert set(few) < set(many)
    assert few == sampled_neurons(2048, 100, seed=3) != sampled_neurons(2048, 100, seed=4)
    assert sampled_neurons(4, 4, seed=0) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="from 0 to 4"):
        sampled_neurons(4, 5, seed=0)


def test_file(tmp_path):
    file = tmp_path / "neurons.json"
    keep = torch.rand(2048, generator=torch.Generator().manual_seed(0)) > 0.5
    write_neurons(file, keep)
    assert json.loads(file.read_text()) == keep.tolist()
    assert torch.equal(read_neurons(file, channels=2048), keep)
    assert torch.equal(read_neurons(file), keep)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[true, false, tr", "well-formed JSON"),
        ("[]", "not a list of neurons"),
        ('{"a": true}', "dict, not a list"),
        ('[true, "yes", true]', "neuron 1 is 'yes', and 1 of 3"),
        ("[true, 1, null]", "2 of 3 entries are no booleans"),
        ("[true, false]", "about 2 neurons, but 3 are wanted"),
    ],
)
def test_files_that_are_refused(tmp_path, text, message):
    file = tmp_path / "neurons.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_neurons(file, channels=3)


@pytest.mark.parametrize("keep", [[], [1, 0], torch.ones(3)])
def test_only_booleans_are_written(tmp_path, keep):
    with pytest.raises(ValueError, match="one True or False per channel"):
        write_neurons(tmp_path / "neurons.json", keep)
    assert not list(tmp_path.iterdir())
