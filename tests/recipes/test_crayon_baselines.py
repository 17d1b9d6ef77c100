"""The compared methods with maps: their terms, weights and arguments, by data set."""

import json
from itertools import product

import pytest
import torch
from tiny import explain, make_batch, parameter_gradients, tiny_family, tiny_model
from transformers import TrainingArguments

from hf_guidance import recipes
from hf_guidance.guidance import Guidance
from hf_guidance.recipes.crayon_baselines import DATASETS, METHODS

UNPUBLISHED = ("gradmask", "bounding_box")


def built(method, dataset):
    return getattr(recipes, method)(dataset, **({"weight": 0.5} if method in UNPUBLISHED else {}))


@pytest.mark.parametrize(("method", "dataset"), product(METHODS, DATASETS))
def test_a_step_and_the_way_to_json_and_back(method, dataset):
    guidance, model = built(method, dataset), tiny_model("resnet")
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance
    forward = explain(
        model, tiny_family("resnet"), make_batch(size=(64, 96)), *(term.objective for term in guidance.values())
    )
    total, logs = guidance(forward)
    assert len(logs) >= 2
    assert all(value >= 0 for value in logs.values())
    assert all(torch.isfinite(gradient).all() for gradient in parameter_gradients(total, model))


@pytest.mark.parametrize(
    ("method", "weights"), [("rrr", (200, 25_000, 0.1)), ("actdiff", (0.1, 1e-5, 1e-2)), ("gradia", (1, 1, 1))]
)
def test_published_weights(method, weights):
    found = [list(built(method, dataset).values())[-1].weight for dataset in DATASETS]
    assert found == list(weights)
    assert list(getattr(recipes, method)("waterbirds", weight=7.0).values())[-1].weight == 7


@pytest.mark.parametrize("method", UNPUBLISHED)
def test_weights_that_are_not_published_must_be_given(method):
    with pytest.raises(ValueError, match=rf"{method}\('imagenet9'\) needs a weight, as weight=1.0.*not published"):
        getattr(recipes, method)("imagenet9")


@pytest.mark.parametrize("method", METHODS)
def test_unknown_data_sets_are_refused(method):
    with pytest.raises(ValueError, match=r"dataset='celeba' is unknown; choose one of \['waterbirds'"):
        getattr(recipes, method)("celeba", weight=1.0)
    with pytest.raises(ValueError, match="dataset='celeba' is unknown"):
        recipes.crayon_baseline_arguments(method, "celeba")


@pytest.mark.parametrize(("method", "dataset"), product(METHODS, DATASETS))
def test_arguments_are_those_of_transformers(method, dataset, tmp_path):
    values = recipes.crayon_baseline_arguments(method, dataset)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[], **values)
    assert (arguments.weight_decay, arguments.max_grad_norm) == (1e-4, 0)
    assert arguments.per_device_train_batch_size == {"waterbirds": 128, "biased_celeba": 64, "imagenet9": 256}[dataset]


def test_rates_and_epochs_that_differ_from_most():
    assert recipes.crayon_baseline_arguments("gradia", "biased_celeba")["learning_rate"] == 1e-3
    assert recipes.crayon_baseline_arguments("gradia", "imagenet9")["num_train_epochs"] == 5
    assert recipes.crayon_baseline_arguments("rrr", "biased_celeba")["num_train_epochs"] == 5
    with pytest.raises(ValueError, match="method='jtt' is unknown"):
        recipes.crayon_baseline_arguments("jtt", "waterbirds")
