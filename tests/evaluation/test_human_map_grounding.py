"""Rank correlation of maps with human maps by pixel, against derivatives, boxes and ranks by hand."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from hf_guidance import (
    AnswerVocabulary,
    Grounding,
    Guidance,
    GuidanceArguments,
    GuidedTrainer,
    QuestionCollator,
    recipes,
)
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import (
    PythiaConfig,
    PythiaForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
    word_tokenizer,
)
from hf_guidance.objectives import Alignment, AnswerLoss
from hf_guidance.training.panels.maps import panel_maps
from hf_guidance.training.panels.rows import panel_rows

TOKENIZER, ANSWERS = word_tokenizer(["is it red"]), AnswerVocabulary(("yes", "no"))
SIZE = (4, 4)
FLAT = 3  # the row whose human map is the same everywhere


def data(count=6):
    """Rows with maps of different sizes, each a multiple of 4 x 4, and as many boxes as lines of a map, which are no axis."""
    generator, made = np.random.default_rng(0), []
    for number in range(count):
        objects = 4 if number else 3
        corners = np.round(generator.random((objects, 2)) / 2, 2)
        pixels = generator.integers(0, 256, (8, 12) if number % 2 else (16, 4)).astype(np.uint8)
        made.append(
            {
                "question_id": str(number), "question": "is it red", "answers": ["yes" if number % 3 else "no"],
                "features": generator.normal(size=(objects, 5)).astype(np.float32),
                "boxes": np.concatenate([corners, corners + 0.4], 1).astype(np.float32),
                "grid_features": generator.normal(size=(16, 3)).astype(np.float32),
                "mask": Image.fromarray(np.full_like(pixels, 90) if number == FLAT else pixels),
            }
        )  # fmt: skip
    return made


def pythia():
    torch.manual_seed(0)
    config = PythiaConfig(
        len(TOKENIZER), word_size=4, hidden_size=6, word_attention_size=3, visual_feat_dim=5, box_encoding_size=6,
        grid_feat_dim=3, fusion_size=40, text_branch_size=12, image_branch_size=12, num_labels=2,
    )  # fmt: skip
    return PythiaForQuestionAnswering(config)


def updn():
    torch.manual_seed(0)
    return UpDnForQuestionAnswering(
        UpDnConfig(len(TOKENIZER), word_size=4, hidden_size=16, visual_feat_dim=5, num_labels=2)
    )


def collator(**options):
    return QuestionCollator(TOKENIZER, ANSWERS, **{"map_size": SIZE, **options})


def trainer_of(model, folder, rows, grounding=None, guidance=None, collate=None, **options):
    settings = {"per_device_eval_batch_size": 4, "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    return GuidedTrainer(
        model, GuidanceArguments(str(folder), **settings | {"per_device_train_batch_size": 3} | options),
        train_dataset=rows, eval_dataset=rows, data_collator=collate or collator(),
        guidance=guidance or Guidance(task=AnswerLoss()), grounding=grounding,
    )  # fmt: skip


def human(row):
    pixels = np.asarray(row["mask"], np.float64)
    return pixels.reshape(4, pixels.shape[0] // 4, 4, pixels.shape[1] // 4).mean((1, 3))


def derivative(model, row, column):
    batch = collator()([row])
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "visual_feats", "visual_attention_mask")}
    if "grid_attention" in dict(model.named_children()):
        inputs["grid_feats"] = batch["grid_feats"]
    values = batch[column].clone().requires_grad_()
    score = model(**inputs | {column: values}).logits[0, batch["target"][0]]
    return values.detach()[0].double(), torch.autograd.grad(score, values)[0][0].double()


def drawn(values, boxes, overlap):
    """The map at 4 x 4 pixels, as the mean over 56 x 56 points in each."""
    total, count = np.zeros((224, 224)), np.zeros((224, 224))
    points = (np.arange(224) + 0.5) / 224
    for value, (left, top, right, bottom) in zip(values, boxes, strict=True):
        inside = np.outer((points >= top) & (points < bottom), (points >= left) & (points < right))
        total, count = total + value * inside, count + inside
    total = total / np.maximum(count, 1) if overlap == "mean" else total
    return total.reshape(4, 56, 4, 56).mean((1, 3)).astype(np.float32)


def expected(model, rows, map_of):
    defined = [row for number, row in enumerate(rows) if number != FLAT]
    found = [spearmanr(map_of(model, row).ravel(), human(row).ravel()).statistic for row in defined]
    return np.mean(found), 1 / len(rows)


def at_grid(model, row):
    features, gradient = derivative(model, row, "grid_feats")
    return (features * gradient.mean(0)).sum(1).numpy()


def at_boxes(overlap):
    def map_of(model, row):
        features, gradient = derivative(model, row, "visual_feats")
        return drawn((features * gradient).sum(1).numpy(), row["boxes"], overlap)

    return map_of


CASES = {
    "grid": (pythia, Grounding(GradCAM("grid", relu=False), ("plausibility",), "human_map"), at_grid),
    "boxes": (updn, Grounding(InputXGradient(), ("plausibility",), "human_map"), at_boxes("mean")),
    "sum": (updn, Grounding(InputXGradient(), ("plausibility",), "human_map", overlap="sum"), at_boxes("sum")),
    "boxes of a model with a grid": (
        pythia,
        Grounding(InputXGradient(), ("plausibility",), "human_map"),
        at_boxes("mean"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_evaluate_gives_the_mean_of_spearmans_correlations(case, tmp_path):
    """Over the rows where it is defined; a flat human map is counted."""
    build, grounding, map_of = CASES[case]
    model, rows = build().eval(), data()
    measured = trainer_of(model, tmp_path, rows, grounding).evaluate()
    agreement, undefined = expected(model, rows, map_of)
    assert measured["eval_plausibility"] == pytest.approx(agreement, abs=1e-6)
    assert measured["eval_plausibility_undefined_share"] == pytest.approx(undefined)


def test_metrics_of_maps_and_of_vectors_go_together(tmp_path):
    grounding = Grounding(GradCAM("grid"), ("epg", "plausibility", "pointing_game"), "human_map")
    measured = trainer_of(pythia(), tmp_path, data(), grounding).evaluate()
    assert 0 < measured["eval_epg"] < 1
    assert -1 < measured["eval_plausibility"] < 1
    assert "eval_pointing_game" in measured


def test_maps_of_images_are_compared_by_rank_too():
    grounding = Grounding(GradCAM(), ("plausibility",))
    maps = np.random.default_rng(0).random((2, 2, 3, 4))
    grounding.add_pairs(list(zip(*maps, strict=True)))
    by_hand = [spearmanr(one.ravel(), other.ravel()).statistic for one, other in zip(*maps, strict=True)]
    assert grounding.compute()["plausibility"] == pytest.approx(np.mean(by_hand))


def test_dead_maps_are_counted(tmp_path):
    """GradCAM of a grid of zeros is 0 everywhere."""
    rows = [row | {"grid_features": np.zeros((16, 3), np.float32)} for row in data()]
    grounding = Grounding(GradCAM("grid"), ("plausibility",), "human_map")
    measured = trainer_of(pythia(), tmp_path, rows, grounding).evaluate()
    assert measured["eval_plausibility_undefined_share"] == 1
    assert "eval_plausibility" not in measured


def test_pixels_that_people_saw_guide_the_grid(tmp_path):
    """The loss of the term on the human map falls, and evaluate() measures that map by default."""
    term = Alignment(InputXGradient("grid"), importance="human_map")
    guidance, rows = Guidance(task=AnswerLoss(), align=term), data()
    trainer = trainer_of(
        pythia(), tmp_path, rows, None, guidance, max_steps=15, learning_rate=0.02, lr_scheduler_type="constant"
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss/align"] < before["eval_loss/align"] - 0.05
    assert after["eval_plausibility"] != before["eval_plausibility"]
    assert after["eval_plausibility_undefined_share"] == pytest.approx(1 / 6)
    with pytest.raises(
        ValueError, match=r"gives maps of \(4, 4\) places.*a bar for each box.*AttributionPanel\(attribution="
    ):
        panel_maps(trainer, panel_rows(trainer, rows, 2), term.attribution)


def test_a_grounding_of_pixels_is_pickled():
    again = pickle.loads(pickle.dumps(CASES["sum"][1]))
    assert (again.importance, again.overlap) == ("human_map", "sum")


def added(grounding, batch, model=None):
    model = pythia() if model is None else model
    grounding.add(Forward(model, family_of(model), batch, grounding.needs()), batch, len(batch["visual_feats"]))


def test_maps_are_not_compared_with_importance_of_boxes():
    with pytest.raises(
        ValueError, match=r"maps of \(4, 4\) places, and column 'importance' one number for each of 4 boxes"
    ):
        added(Grounding(GradCAM("grid"), ("plausibility",)), collator()(data(2)))


def test_vectors_are_no_map():
    with pytest.raises(
        ValueError, match=r"shape \(2, 40\) and boxes of shape \(2, 4, 4\); give one number and one box"
    ):
        added(Grounding(InputXGradient("fusion"), ("plausibility",), "human_map"), collator()(data(2)))


def test_boxes_in_pixels_are_refused():
    batch = collator()(data(2))
    batch["visual_pos"][1, 2] = torch.tensor([3.0, 4.0, 50.0, 60.0])
    with pytest.raises(ValueError, match=r"boxes\[6\] is \[3.0, 4.0, 50.0, 60.0\]; allowed are 0 <= xmin"):
        added(Grounding(InputXGradient(), ("plausibility",), "human_map"), batch, updn())
    del batch["visual_pos"]
    with pytest.raises(ValueError, match="the batch has no column 'visual_pos'"):
        added(Grounding(InputXGradient(), ("plausibility",), "human_map"), batch, updn())


def test_nan_in_a_map_names_the_pair():
    model, batch = pythia(), collator()(data(2))
    batch["grid_feats"][1, 3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"predictions\[1\] holds NaN or infinity in 16 of 16 places"):
        added(Grounding(GradCAM("grid", relu=False), ("plausibility",), "human_map"), batch, model)


def test_a_collator_without_maps_is_told(tmp_path):
    grounding = Grounding(GradCAM("grid"), ("plausibility",), "human_map")
    trainer = trainer_of(pythia(), tmp_path, data(), grounding, collate=collator(map_size=None))
    with pytest.raises(ValueError, match=r"no \['human_map'\].*QuestionCollator\(\.\.\., map_size=\(14, 14\)\) makes"):
        trainer.evaluate()


def test_an_unknown_overlap_is_refused():
    with pytest.raises(ValueError, match=r"overlap='max' is unknown; choose one of \['mean', 'sum'\]"):
        Grounding(InputXGradient(), ("plausibility",), "human_map", overlap="max")


def test_default_metric_of_boxes_stays_that_of_boxes(tmp_path):
    guidance = recipes.hint()
    measured = trainer_of(updn(), tmp_path, data(), None, guidance).evaluate()
    assert "eval_plausibility" in measured
