"""AdversarialAnswerLoss on UpDn, Pythia and SAN: values, who gets which gradient, saving, and a run of the trainer."""

import json
import math

import numpy as np
import pytest
import torch
from tiny import explain, relative_error
from torch import nn
from torch.nn import functional as F
from toy_vqa import ANSWERS, DIMS, region_batch

from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer
from hf_guidance.data import AnswerVocabulary, QuestionCollator
from hf_guidance.families import family_of
from hf_guidance.forward import Forward
from hf_guidance.models import (
    PythiaConfig,
    PythiaForQuestionAnswering,
    SANConfig,
    SANForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
    word_tokenizer,
)
from hf_guidance.objectives import AdversarialAnswerLoss, AnswerLoss
from hf_guidance.objectives.answers import prediction_entropy
from hf_guidance.views import FULL, Needs

SIZES = {"vocab_size": 11, "word_size": 6, "visual_feat_dim": DIMS, "num_labels": ANSWERS, "question_adversary_size": 5}
KINDS = {
    "updn": (UpDnForQuestionAnswering, UpDnConfig, {"hidden_size": 8}),
    "pythia": (
        PythiaForQuestionAnswering,
        PythiaConfig,
        {
            "hidden_size": 5, "word_attention_size": 4, "box_encoding_size": 7, "grid_feat_dim": None, "fusion_size": 16,
            "text_branch_size": 6, "image_branch_size": 8,
        },
    ),
    "san": (SANForQuestionAnswering, SANConfig, {"hidden_size": 8, "attention_size": 4}),
}  # fmt: skip


def made(name, **changes):
    model, config, sizes = KINDS[name]
    torch.manual_seed(0)
    return model(config(**SIZES | sizes | changes)).double().eval()


def columns(model, **options):
    batch = region_batch(images=4, **options)
    return batch, {name: batch[name] for name in family_of(model).inputs if name in batch}


def by_parts(model, batch, inputs, form):
    """CE of the model and of the adversary, and both entropies, by plain torch: the adversary called on the encoding."""
    output = model(**inputs)
    alone = model.question_adversary.classifier(output.question_embedding)
    labels = batch["labels"]

    def cross(logits):
        if form == "softmax":
            return F.cross_entropy(logits, labels.argmax(1), reduction="none")
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(1)

    def entropy(logits):
        if form == "softmax":
            return torch.distributions.Categorical(logits=logits).entropy()
        return torch.distributions.Bernoulli(logits=logits).entropy().sum(1)

    return cross(output.logits), cross(alone), entropy(output.logits), entropy(alone)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", KINDS)
def test_values_and_gradients(name, form):
    """The encoder gets -λ_Q of the gradient, and that of the entropies; the adversary + 1, and none of the entropies."""
    model = made(name)
    batch, inputs = columns(model)
    objective = AdversarialAnswerLoss(form=form, adversary_weight=0.7, entropy_weight=0.3)
    value = objective(explain(model, family_of(model), batch, objective))
    answers, alone, sure, unsure = by_parts(model, batch, inputs, form)
    expected = answers - 0.7 * alone + 0.3 * (sure - unsure)
    assert relative_error(value, expected.detach()) < 1e-12
    names, parameters = zip(*model.named_parameters(), strict=True)
    options = {"allow_unused": True, "materialize_grads": True}
    ours = torch.autograd.grad(value.sum(), parameters, **options)
    base = torch.autograd.grad(expected.sum(), parameters, retain_graph=True, **options)
    own = torch.autograd.grad(alone.sum(), parameters, **options)
    reached = set()
    for path, a, of_base, of_adversary in zip(names, ours, base, own, strict=True):
        adversary = path.startswith("question_adversary")
        torch.testing.assert_close(a, of_adversary if adversary else of_base, rtol=1e-10, atol=1e-13, msg=path)
        reached.add(adversary and bool(a.any()))
    assert reached == {True, False}


@pytest.mark.parametrize("name", KINDS)
def test_the_two_outputs_are_equal_and_reach_one_side_each(name):
    model = made(name)
    _, inputs = columns(model)
    output = model(**inputs)
    assert torch.equal(output.question_logits, output.question_logits_fixed)
    alone = model.question_adversary.classifier(output.question_embedding)
    torch.testing.assert_close(output.question_logits, alone, rtol=1e-12, atol=1e-14)
    own, words = model.question_adversary.classifier[0].weight, model.words.weight
    for logits, to_own, to_words in (
        (output.question_logits, True, False),
        (output.question_logits_fixed, False, True),
    ):
        found = torch.autograd.grad(logits.sum(), (own, words), allow_unused=True, retain_graph=True)
        assert [gradient is not None for gradient in found] == [to_own, to_words]
    again = model(visual_feats=inputs["visual_feats"], question_embedding=output.question_embedding)
    assert again.question_logits is None


@pytest.mark.parametrize("name", KINDS)
def test_without_an_adversary_nothing_is_added(name, tmp_path):
    model = made(name, question_adversary_size=None)
    batch, inputs = columns(model)
    assert not any("adversary" in path for path in model.state_dict())
    assert "question_logits" not in model(**inputs)
    with pytest.raises(ValueError, match=r"puts out no 'question_logits'.*question_adversary_size=64 in its config"):
        AdversarialAnswerLoss()(explain(model, family_of(model), batch, AdversarialAnswerLoss()))
    model.save_pretrained(tmp_path)
    added, config = type(model).from_pretrained(tmp_path, question_adversary_size=5), type(model.config).__name__
    torch.testing.assert_close(added.double()(**inputs).logits, model(**inputs).logits, rtol=1e-5, atol=1e-6)
    drawn = added.question_adversary.classifier[0]
    assert 0 < drawn.weight.abs().max() <= drawn.in_features**-0.5
    for size in (0, True, 2.5):
        with pytest.raises(ValueError, match=rf"{config}\(question_adversary_size={size}\) must be a whole number"):
            made(name, question_adversary_size=size)


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_loaded(name, tmp_path):
    model = made(name)
    _, inputs = columns(model)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert loaded.config.question_adversary_size == 5
    for path, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(path), parameter), path
    assert torch.equal(loaded(**inputs).question_logits, model(**inputs).question_logits)
    guidance = Guidance(task=AdversarialAnswerLoss(adversary_weight=0.5, entropy_weight=0.0))
    assert Guidance.from_dict(json.loads(guidance.to_json())) == guidance


def test_entropies():
    logits = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0], [1.0, -2.0, 0.5]], dtype=torch.float64)
    chance = logits.softmax(1)
    expected = -(chance * chance.log()).sum(1)
    torch.testing.assert_close(prediction_entropy(logits, "softmax"), expected, rtol=1e-12, atol=1e-14)
    assert prediction_entropy(logits, "softmax")[0] == pytest.approx(math.log(3))
    yes = logits.sigmoid()
    expected = torch.special.entr(yes).sum(1) + torch.special.entr(1 - yes).sum(1)
    torch.testing.assert_close(prediction_entropy(logits, "sigmoid"), expected, rtol=1e-9, atol=1e-12)
    difference = AdversarialAnswerLoss.entropies(logits[1:2], logits[:1])
    assert difference.item() == pytest.approx(-math.log(3), rel=1e-9)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_entropies_of_sure_and_impossible_answers_have_finite_gradients(form):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-torch.inf, 0.0, 1.0]], requires_grad=True)
    values = prediction_entropy(logits, form)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert values.isfinite().all()
    assert gradient.isfinite().all()


def test_images_without_a_scored_answer_teach_the_adversary_nothing():
    model = made("updn")
    batch, _ = columns(model)
    batch["labels"] = batch["labels"].clone()
    batch["labels"][1] = 0
    objective = AdversarialAnswerLoss(adversary_weight=1.0, entropy_weight=0.0)
    value = objective(explain(model, family_of(model), batch, objective))
    assert value[1] == 0
    gradients = torch.autograd.grad(value[1], list(model.question_adversary.parameters()), allow_unused=True)
    assert not any(gradient is not None and gradient.any() for gradient in gradients)


def test_weights_of_zero_are_the_task_and_an_adversary_that_watches():
    model = made("san")
    batch, _ = columns(model)
    objective = AdversarialAnswerLoss(adversary_weight=0.0, entropy_weight=0.0)
    forward = explain(model, family_of(model), batch, objective)
    assert torch.equal(objective(forward), AnswerLoss()(forward))
    words = [p for path, p in model.named_parameters() if not path.startswith("question_adversary")]
    pairs = zip(
        torch.autograd.grad(objective(forward).sum(), words, retain_graph=True),
        torch.autograd.grad(AnswerLoss()(forward).sum(), words),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", True, None])
@pytest.mark.parametrize("field", ["adversary_weight", "entropy_weight"])
def test_weights_that_are_none_are_refused(field, weight):
    with pytest.raises(ValueError, match=rf"AdversarialAnswerLoss\({field}=.*give a finite number >= 0"):
        AdversarialAnswerLoss(**{field: weight})


def test_outputs_come_in_the_order_of_the_images_where_groups_are_called_apart():
    """Without second derivatives, images with several explained rows are called apart from the others."""
    model = made("updn")
    batch, inputs = columns(model)
    rows = {"row": [0, 1, 1, 2, 3], "slot": [0, 0, 1, 0, 0], "target": torch.tensor([0, 1, 2, 3, 0])}
    needs = Needs([(FULL, "logits"), (FULL, "fusion")])
    with torch.no_grad():
        forward = Forward(model, family_of(model), batch | rows, needs)
        assert forward._groups is not None
        torch.testing.assert_close(forward.output("question_logits"), model(**inputs).question_logits)
    assert forward.output("no_such_output") is None


QUESTIONS = ["what color is it", "what shape is it", "is it big", "is it far"]


def dataset(count=32):
    """The answer follows from the question alone, as from a prior."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "question_id": str(number), "image_id": str(number), "question": QUESTIONS[number % 4],
            "answers": [f"answer {number % 4}"] * 10, "features": torch.randn(3, DIMS, generator=generator).numpy(),
            "boxes": np.tile(np.array([0.1, 0.1, 0.9, 0.9], np.float32), (3, 1)),
        }
        for number in range(count)
    ]  # fmt: skip


def trained(name, folder, objective, steps=40):
    rows, tokenizer = dataset(), word_tokenizer(QUESTIONS)
    answers = AnswerVocabulary.from_answers([row["answers"] for row in rows], min_occurrence=1)
    model = made(name, vocab_size=len(tokenizer), num_labels=len(answers)).float()
    args = GuidanceArguments(
        str(folder), per_device_train_batch_size=16, max_steps=steps, learning_rate=0.3, report_to="none", use_cpu=True,
        save_strategy="no", disable_tqdm=True, logging_steps=1, max_grad_norm=0.0, optim="sgd", lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = GuidedTrainer(
        model, args, train_dataset=rows, eval_dataset=rows, data_collator=QuestionCollator(tokenizer, answers),
        guidance=Guidance(task=objective),
    )  # fmt: skip
    batch = trainer.data_collator(rows)
    inputs = {column: batch[column] for column in trainer.family.inputs if column in batch}

    def measured():
        with torch.no_grad():
            output = model.eval()(**inputs)
        best = batch["labels"].argmax(1)
        entropies = AdversarialAnswerLoss.entropies(output.logits, output.question_logits).mean()
        return F.cross_entropy(output.question_logits, best).item(), entropies.item()

    before = measured()
    trainer.train()
    return trainer, before, measured()


@pytest.mark.parametrize("name", KINDS)
def test_training_moves_what_it_should(name, tmp_path):
    """The adversary alone learns the prior; against an encoder that flees it, it does worse; entropies part."""
    watching = AdversarialAnswerLoss(adversary_weight=0.0, entropy_weight=0.0)
    trainer, before, watched = trained(name, tmp_path / "a", watching)
    assert watched[0] < before[0]
    assert all("loss/task" in entry for entry in trainer.state.log_history if "loss" in entry)
    assert "eval_loss" in trainer.evaluate()
    _, _, fled = trained(name, tmp_path / "b", AdversarialAnswerLoss(adversary_weight=3.0, entropy_weight=0.0))
    assert fled[0] > watched[0]
    _, _, parted = trained(name, tmp_path / "c", AdversarialAnswerLoss(adversary_weight=0.0, entropy_weight=1.0))
    assert parted[1] < watched[1]
    trainer.save_model(str(tmp_path / "saved"))
    again = type(trainer.model).from_pretrained(tmp_path / "saved")
    for path, parameter in trainer.model.named_parameters():
        assert torch.equal(again.get_parameter(path), parameter), path
    assert Guidance.load(tmp_path / "saved")["task"].objective == watching
    assert isinstance(again.question_adversary, nn.Module)
