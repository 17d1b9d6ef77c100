"""DFR: the fit against scikit-learn's own, and what it does to a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from placed_rows import place_rows, small_model
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hf_guidance.training.baselines import DFR
from hf_guidance.training.baselines.dfr import balanced, fitted, halves


def features_of(model, rows):
    with torch.no_grad():
        return model.eval().resnet(torch.tensor(rows["pixel_values"])).pooler_output.flatten(1).numpy().astype(float)


def test_the_folded_layer_predicts_as_the_fit_on_standardised_features(baseline):
    rows, model = place_rows(48), small_model()
    # Twelve rows of each group, so that every balanced draw is all of them.
    rows = rows.remove_columns("group").add_column("group", [index % 4 for index in range(48)])
    before = features_of(model, rows)
    body = {name: value.clone() for name, value in model.state_dict().items() if "classifier" not in name}
    trainer = baseline(DFR(strengths=(1.0,), subsets=2), model, {"train_dataset": rows})
    output = trainer.train()
    assert output.metrics == {"dfr_strength": 1.0, "dfr_rows_of_a_group": 12.0}
    scaled = StandardScaler().fit_transform(before)
    judge = LogisticRegression(C=1.0, l1_ratio=1.0, solver="liblinear", random_state=42, tol=1e-4)
    wanted = judge.fit(scaled, rows["label"]).decision_function(scaled)
    with torch.no_grad():
        logits = model.eval()(torch.tensor(rows["pixel_values"])).logits
    assert np.allclose((logits[:, 1] - logits[:, 0]).numpy(), wanted, atol=2e-2)
    assert np.corrcoef((logits[:, 1] - logits[:, 0]).numpy(), wanted)[0, 1] > 0.999
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in body.items())
    assert trainer.evaluate()["eval_loss"] < 0.7


def test_the_best_strength_of_the_worst_group_is_chosen(baseline):
    trainer = baseline(DFR(strengths=(1e-6, 1.0), subsets=3), trainer={"train_dataset": place_rows(64)})
    assert trainer.train().metrics["dfr_strength"] == 1.0  # the other fits nothing


def test_more_than_two_classes():
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = draw.normal(0, 0.3, (90, 5))
    features[np.arange(90), labels] += 2
    weight, bias = fitted(features, labels, 1.0, 0)
    assert weight.shape == (3, 5)
    assert ((features @ weight.T + bias).argmax(1) == labels).mean() > 0.95


def test_draws_are_balanced():
    groups = np.array([0] * 10 + [1] * 4 + [2] * 6)
    generator = np.random.default_rng(0)
    rows = balanced(groups, generator)
    assert np.bincount(groups[rows]).tolist() == [4, 4, 4]
    assert len(set(rows.tolist())) == 12
    fit, held = halves(groups, generator)
    assert sorted([*fit, *held]) == list(range(20))
    assert set(groups[fit]) == set(groups[held]) == {0, 1, 2}


def test_what_cannot_be_fitted_is_refused(baseline):
    rows = place_rows()
    with pytest.raises(ValueError, match="nothing to resume"):
        baseline(DFR()).train(resume_from_checkpoint=True)
    single = rows.select(range(6)).remove_columns("group").add_column("group", [0, 0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match="takes two of each"):
        baseline(DFR(), trainer={"train_dataset": single}).train()
    with pytest.raises(ValueError, match=r"head='nowhere' is no Linear layer of ResNet.*'classifier.1'"):
        baseline(DFR(head="nowhere")).train()
    one = rows.filter(lambda row: row["label"] == 0)
    one = one.remove_columns("group").add_column("group", [index % 2 for index in range(len(one))])
    with pytest.raises(ValueError, match=r"the classes \[1\] have no row"):
        baseline(DFR(strengths=(1.0,)), trainer={"train_dataset": one}).train()
