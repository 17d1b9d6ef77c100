"""The metric "rrr" of image classifiers: measured by evaluate(), in the log and on the card, against plain torch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard
from tiny import make_batch, tiny_family, tiny_model

from hf_guidance import Forward, Grounding, Guidance, GuidanceCollator, Term, with_annotated_fraction
from hf_guidance.attributions import GradCAM
from hf_guidance.evaluation import RRR
from hf_guidance.objectives import Energy, Sufficiency, Uncertainty
from hf_guidance.views import Blur, OtherImages, negative_ones, zeros

NAMES = ("rrr_suff", "rrr_unc", "rrr_inv", "rrr_excluded_share")


def expected(model, rows, collator, fill=0.0, threshold=0.5):
    """The paper's formulas over all rows with something important, one after the other, in float64."""
    model = model.double().eval()
    figures = []
    for row in rows:
        batch = collator([row])
        pixels, important = batch["pixel_values"].double(), (batch["importance"] > threshold)[:, None]
        if not important.any():
            continue
        other = fill(pixels) if callable(fill) else torch.full_like(pixels, fill)
        with torch.no_grad():
            whole, kept, rest = (
                model(pixel_values=each).logits
                for each in (pixels, torch.where(important, pixels, other), torch.where(important, other, pixels))
            )
        same = float(kept.argmax() == whole.argmax())
        figures.append((float(kept.argmax() == batch["labels"][0]), float(rest.softmax(1).max()), same))
    model.float()
    return np.mean(figures, axis=0), len(figures)


def blurred(sigma):
    """A Gaussian blur by convolution, which reaches less far than the image."""

    def blur(pixels):
        radius = int(4 * sigma + 0.5)
        line = torch.exp(-(torch.arange(-radius, radius + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
        kernel = torch.outer(line, line)[None, None] / line.sum() ** 2
        padded = F.pad(pixels, (radius,) * 4, mode="reflect")
        return F.conv2d(padded.movedim(1, 0), kernel).movedim(0, 1)

    return blur


@pytest.fixture
def mixed(model_of, digits, processor):
    """A model that is sure of one class for some photographs and of the other for others."""
    model = model_of("resnet").eval()
    pixels = processor(images=list(digits["test"]["image"]), return_tensors="pt")["pixel_values"]
    head = model.classifier[-1]
    with torch.no_grad():
        head.weight.mul_(20)
        head.bias.zero_()
        head.bias.sub_(model(pixel_values=pixels).logits.median(0).values)
    return model


@pytest.mark.parametrize("source", ["boxes", "mask"])
@pytest.mark.parametrize(
    ("rrr", "fill"),
    [(None, 0.0), (RRR(replace=negative_ones), -1.0), (RRR(0.25, Blur(2.0)), blurred(2.0))],
    ids=["zeros", "negative_ones", "blur"],
)
def test_evaluate_measures_the_formulas_of_the_paper(trainer_of, mixed, digits, processor, source, rrr, fill):
    collator = GuidanceCollator(processor, num_labels=2, source=source)
    trainer = trainer_of(
        mixed, Guidance(), per_device_eval_batch_size=7,
        trainer={"grounding": Grounding(GradCAM(), ("epg", "rrr"), rrr=rrr), "data_collator": collator},
    )  # fmt: skip
    found = trainer.evaluate()
    wanted, _ = expected(mixed, digits["test"], collator, fill, 0.5 if rrr is None else rrr.threshold)
    assert [found[f"eval_{name}"] for name in NAMES[:3]] == pytest.approx(wanted, abs=1e-5)
    assert 0 < wanted[2] < 1, "the comparison shows something only if some predictions change"
    assert found["eval_rrr_excluded_share"] == 0
    assert 0 < found["eval_epg"] < 1


def test_images_without_annotation_are_not_measured(trainer_of, mixed, digits, processor):
    """A soft map that is nowhere important is left out and counted; a row that is not annotated is neither."""
    collator = GuidanceCollator(processor, num_labels=2, source="importance")
    faint = [np.full((32, 32), 0.25 if row % 3 == 0 else 0.0) for row in range(20)]
    for row in (1, 5, 7):
        faint[row] = np.asarray(digits["test"][row]["mask"]) / 255.0
    rows = digits["test"].add_column("importance", [map_.tolist() for map_ in faint])
    trainer = trainer_of(
        mixed, Guidance(),
        trainer={"grounding": Grounding(GradCAM(), ("rrr",)), "data_collator": collator, "eval_dataset": rows},
    )  # fmt: skip
    found = trainer.evaluate()
    wanted, count = expected(mixed, rows, collator)
    assert count == 3
    assert [found[f"eval_{name}"] for name in NAMES[:3]] == pytest.approx(wanted, abs=1e-5)
    assert found["eval_rrr_excluded_share"] == pytest.approx(7 / 10)
    nothing = with_annotated_fraction(digits["test"], 0.0, seed=0)
    assert not any(
        "rrr" in name for name in trainer.evaluate(nothing.add_column("importance", [faint[2].tolist()] * 20))
    )


def test_random_parts_are_shown_beside_what_is_important():
    """With draws the prediction on the important part alone is compared with that on random supersets, as in the paper."""
    model, batch = tiny_model("resnet"), make_batch(6)
    rrr = RRR(draws=3)
    torch.manual_seed(2)
    forward = Forward(model, tiny_family("resnet"), batch, rrr.needs())
    found = rrr.measure(forward)
    important = (batch["importance"] > 0.5)[:, None]
    alone = model(pixel_values=batch["pixel_values"] * important)["logits"].argmax(1)
    same = torch.zeros(6, dtype=torch.float64)
    for view in rrr.compared():
        keep = forward.keep(view)[0][:, None]
        assert (keep | ~important).all()
        same += (model(pixel_values=batch["pixel_values"] * keep)["logits"].argmax(1) == alone) / 3
    assert [found[image]["invariance"] for image in range(6)] == pytest.approx(same.tolist())
    assert len({view.draw for view in rrr.compared()}) == 3


def test_an_evaluation_repeats_and_leaves_training_alone(trainer_of, model_of):
    """Fills and parts that are drawn at random are drawn alike in every evaluation, and not from training's generator."""
    random = RRR(replace=OtherImages(), draws=2)
    found, states = [], []
    for grounding in (Grounding(GradCAM(), ("rrr",), rrr=random), Grounding(GradCAM(), ("epg",))):
        trainer = trainer_of(model_of(), Guidance(energy=Energy(GradCAM())), trainer={"grounding": grounding})
        for seed in (0, 1):
            torch.manual_seed(seed)
            found.append(trainer.evaluate())
            states.append(torch.get_rng_state())
    first, again = ([metrics[f"eval_{name}"] for name in NAMES] for metrics in found[:2])
    assert first == again
    assert torch.equal(states[0], states[2])
    assert torch.equal(states[1], states[3])
    assert not torch.equal(states[0], states[1])


@pytest.mark.parametrize("replace", [zeros, Blur(3.0), OtherImages()], ids=["zeros", "blur", "other"])
@pytest.mark.parametrize("kind", ["resnet", "convnext", "vit"])
def test_views_train_and_stand_in_the_log_and_on_the_card(trainer_of, model_of, digits, tmp_path, kind, replace):
    guidance = Guidance(
        energy=Energy(GradCAM()),
        sufficiency=Sufficiency(replace=replace),
        uncertainty=Term(Uncertainty(replace=replace), 0.1),
    )
    trainer = trainer_of(
        model_of(kind), guidance, rows=with_annotated_fraction(digits["train"], 0.25, seed=0), max_steps=3,
        eval_strategy="steps", eval_steps=3, frozen_batch_norm=kind == "resnet",
        trainer={"grounding": Grounding(GradCAM(), ("epg", "rrr"), rrr=RRR(replace=replace))},
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    (entry,) = [logs for logs in trainer.state.log_history if "eval_epg" in logs]
    assert set(NAMES) <= {name.removeprefix("eval_") for name in entry}
    assert all(0 <= entry[f"eval_{name}"] <= 1 for name in NAMES)
    assert entry["eval_rrr_unc"] >= 0.5
    assert all("loss/sufficiency" in logs for logs in trainer.state.log_history if "loss" in logs)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    told = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert {"epg", "rrr_inv", "rrr_suff", "rrr_unc"} <= told.keys()
    assert told["rrr_inv"] == pytest.approx(entry["eval_rrr_inv"], abs=1e-6)
    assert "| `rrr_inv` ↑ |" in card.text
    assert "| `rrr_unc` ↓ |" in card.text
    assert Guidance.load(tmp_path / "out").to_json() == guidance.to_json()


def test_one_class_per_image_is_needed(trainer_of, model_of):
    trainer = trainer_of(
        model_of(problem_type="multi_label_classification"), Guidance(),
        trainer={"grounding": Grounding(GradCAM(), ("rrr",))},
    )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"column 'labels' has shape \(8, 2\), and the metric 'rrr' is of one class per"
    ):
        trainer.evaluate()


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"rrr=RRR\(.*but metrics=\['epg'\]; add 'rrr'"):
        Grounding(GradCAM(), ("epg",), rrr=RRR())
    with pytest.raises(ValueError, match=r"RRR\(threshold=2\); give a number in \[0, 1\]"):
        RRR(threshold=2)
    with pytest.raises(ValueError, match=r"RRR\(draws=0\): give a whole number of at least 1"):
        RRR(draws=0)


def test_it_travels_to_other_processes():
    given = Grounding(GradCAM(), ("epg", "rrr"), rrr=RRR(0.3, Blur(2.0), 4))
    again = pickle.loads(pickle.dumps(given))
    assert again.rrr == given.rrr
    assert list(again.needs()) == list(given.needs())
    assert again.compute() == {}
