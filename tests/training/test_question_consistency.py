"""evaluate() of triples of questions: consistency and ranking."""

import numpy as np
import pytest
import torch
from rows_as_read import RowsAsRead
from test_triples_training import GUIDANCES, QUESTIONS, rows, trainer_of

from hf_guidance import AnswerVocabulary, Guidance, GuidanceArguments, GuidedTrainer
from hf_guidance.attributions import InputXGradient
from hf_guidance.data import QuestionTripleCollator
from hf_guidance.evaluation import QuestionConsistency
from hf_guidance.evaluation.metric_modules import load_metric
from hf_guidance.forward import Forward
from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering, word_tokenizer
from hf_guidance.objectives import RoleAnswerLoss
from hf_guidance.views import FULL

RANKED = ("mp_at_1", "ranking_accuracy", "mrr", "wpr")
PAIRED = ("r_right_s_right", "r_right_s_wrong", "r_wrong_s_right", "r_wrong_s_wrong", "reasoning_accuracy")


def several():
    """Two reasoning questions with two sub-questions and two irrelevant ones each, in all pairs, and one that stands alone."""
    made, texts = [], {"sub": ["is the sky bright", "is it warm"], "irrelevant": ["does the train move", "who is it"]}
    for number, row in enumerate(rows(3, 3)):
        if number == 2:
            made.append(row)
            continue
        for sub in texts["sub"]:
            for irrelevant in texts["irrelevant"]:
                others = {"sub_question": sub, "sub_answers": ["no"], "irrelevant_question": irrelevant}
                made.append(row | others | {"irrelevant_answers": ["yes"]})
    return made


WORDS = [*QUESTIONS, "is it warm", "who is it"]


def pythia_trainer(folder, data, consistency=None, **options):
    tokenizer, answers = word_tokenizer(WORDS), AnswerVocabulary(("yes", "no"))
    torch.manual_seed(0)
    config = PythiaConfig(
        len(tokenizer), word_size=4, hidden_size=8, word_attention_size=4, visual_feat_dim=6, box_encoding_size=6,
        fusion_size=12, grid_feat_dim=None, text_branch_size=4, image_branch_size=6, num_labels=2,
    )  # fmt: skip
    args = GuidanceArguments(
        str(folder), per_device_eval_batch_size=3, report_to="none", use_cpu=True, disable_tqdm=True, **options
    )
    return GuidedTrainer(
        PythiaForQuestionAnswering(config).double(), args, eval_dataset=data, train_dataset=data,
        data_collator=QuestionTripleCollator(tokenizer, answers), guidance=Guidance(task=RoleAnswerLoss()),
        consistency=consistency,
    )  # fmt: skip


def vectors_of(trainer, row, similarity):
    """By autograd and the model's own modules: the vector of each question of a row."""
    batch = trainer.data_collator([row])
    model, found = trainer.model.eval(), []
    for question in range(3):
        kept = {}
        hooks = [
            model.fusion.register_forward_hook(lambda _, __, out, kept=kept: kept.update(joint=out)),
            model.fusion.question.register_forward_hook(lambda _, __, out, kept=kept: kept.update(side=out)),
        ]
        one = {name: batch[name][question : question + 1] for name in ("input_ids", "attention_mask", "visual_feats")}
        out = model(
            **{**one, "visual_feats": one["visual_feats"].double()}, visual_pos=batch["visual_pos"][:1].double()
        )
        answer = int(batch["labels"][question].argmax())
        (gradient,) = torch.autograd.grad(out["logits"][0, answer], kept["joint"])
        parts = {"gradcam": (kept["joint"] * gradient)[0], "question": kept["side"].relu()[0]}
        for hook in hooks:
            hook.remove()
        both = torch.cat([part / part.abs().max() for part in parts.values()])
        found.append((parts | {"both": both})[similarity].detach())
    return found


@pytest.mark.parametrize("similarity", ["gradcam", "question", "both"])
def test_the_ranking_is_by_the_cosines_of_the_vectors(similarity, tmp_path):
    data = several()
    trainer = pythia_trainer(tmp_path, data, QuestionConsistency(similarity))
    found = trainer.evaluate()
    expected: dict[tuple[str, str], tuple[float, int]] = {}
    for row in data[:8]:
        reasoning, sub, irrelevant = vectors_of(trainer, row, similarity)
        for text, vector, kind in ((row["sub_question"], sub, 1), (row["irrelevant_question"], irrelevant, 0)):
            value = float(torch.nn.functional.cosine_similarity(reasoning, vector, dim=0, eps=0))
            expected[row["question_id"], text] = value, kind
    assert len(expected) == 8
    wanted = load_metric("question_ranking").compute(
        predictions=[value for value, _ in expected.values()], references=[kind for _, kind in expected.values()],
        group=[one for one, _ in expected],
    )  # fmt: skip
    assert {name: found[f"eval_{name}"] for name in RANKED} == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("correctness", ["hard", "soft"])
def test_consistency_is_that_of_the_predictions(correctness, tmp_path):
    data = several()
    trainer = pythia_trainer(tmp_path, data, QuestionConsistency(correctness=correctness))
    found = trainer.evaluate()
    seen: dict[tuple[str, str], tuple[int, list[float]]] = {}
    for row in data[:8]:
        batch = trainer.data_collator([row])
        names = ("input_ids", "attention_mask", "visual_feats", "visual_pos")
        inputs = {name: batch[name] if name == "input_ids" else batch[name].double() for name in names}
        inputs["attention_mask"] = batch["attention_mask"]
        predicted = trainer.model.eval()(**inputs)["logits"].argmax(1)
        for place, role in enumerate(("reasoning", "sub")):
            text = row["question"] if place == 0 else row["sub_question"]
            truth = batch["labels"][place]
            seen[row["question_id"], role + text] = int(predicted[place]), truth.tolist()
    wanted = load_metric("vqa_consistency").compute(
        predictions=[answer for answer, _ in seen.values()], references=[truth for _, truth in seen.values()],
        role=["reasoning" if name.startswith("reasoning") else "sub" for _, name in seen],
        group=[one for one, _ in seen], correctness=correctness,
    )  # fmt: skip
    for name in PAIRED:
        assert found[f"eval_{name}"] == pytest.approx(wanted[name])
    assert found.get("eval_consistency") == wanted["consistency"]


def test_batches_do_not_matter_and_a_second_evaluation_forgets_the_first(tmp_path):
    data = several()
    trainer = pythia_trainer(tmp_path, data)
    first, again = trainer.evaluate(), trainer.evaluate()
    whole = trainer.evaluate(data[:4])
    trainer.args.per_device_eval_batch_size = 9
    other = trainer.evaluate()
    for name in (*RANKED, *PAIRED):
        assert first[f"eval_{name}"] == again[f"eval_{name}"] == pytest.approx(other[f"eval_{name}"], abs=1e-10)
    assert whole["eval_reasoning_accuracy"] in (0, 1)


@pytest.mark.parametrize("name", GUIDANCES)
def test_a_guided_trainer_reports_it_by_itself(name, tmp_path):
    found = trainer_of(GUIDANCES[name](), tmp_path).evaluate()
    assert sum(found[f"eval_{share}"] for share in PAIRED[:4]) == pytest.approx(1)
    assert all(0 <= found[f"eval_{each}"] <= 1 for each in RANKED[:3])


def test_it_can_choose_the_best_checkpoint(tmp_path):
    trainer = pythia_trainer(
        tmp_path, several(), max_steps=2, eval_strategy="steps", eval_steps=1, save_steps=1, save_strategy="steps",
        load_best_model_at_end=True, metric_for_best_model="eval_mrr",
    )  # fmt: skip
    trainer.train()
    assert trainer.args.greater_is_better
    assert np.isfinite(trainer.state.best_metric)


def test_references_are_those_of_the_metric():
    scores, none = torch.tensor([0.0, 0.3, 0.9]), torch.zeros(3)
    hard, soft = QuestionConsistency(), QuestionConsistency(correctness="soft")
    assert hard._answer(1, scores) == (1, 2)
    assert soft._answer(1, scores) == (0, [pytest.approx(0.3)])
    assert hard._answer(0, none) == (0, [0.0])  # wrong, whatever is predicted
    assert hard._answer(0, torch.tensor(2)) == soft._answer(0, torch.tensor(2)) == (0, 2)


def test_wordings_of_one_reasoning_question_are_one(tmp_path):
    data = several()
    other = [row | {"question": row["question"].upper() + "?"} if place % 2 else row for place, row in enumerate(data)]
    assert pythia_trainer(tmp_path, other).evaluate()["eval_reasoning_accuracy"] in (0, 0.5, 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"question": "who is it", "irrelevant_question": "does the train move"},
            r"question_id '0' have two reasoning questions: 'is it day' about image '0', and 'who is it' about image '0'",
        ),
        (
            {"image_id": "9"},
            r"have two .*: 'is it day' about image '0', and 'is it day' about image '9'.*an id of its own",
        ),
    ],
)
def test_two_reasoning_questions_of_one_id_are_refused(columns, message, tmp_path):
    """Before training where the rows are plain data, else when they are measured."""
    data = several()
    data[1] = data[1] | columns
    with pytest.raises(ValueError, match=message):
        pythia_trainer(tmp_path, data)
    with pytest.raises(ValueError, match=message):
        pythia_trainer(tmp_path, RowsAsRead(data)).evaluate()


def test_questions_that_stand_alone_measure_nothing(tmp_path):
    found = pythia_trainer(tmp_path, several()[8:]).evaluate()
    assert "eval_loss" in found
    assert not any(f"eval_{name}" in found for name in (*RANKED, *PAIRED, "consistency"))


def test_without_irrelevant_questions_nothing_is_ranked(tmp_path):
    data = [{name: value for name, value in row.items() if "irrelevant" not in name} for row in several()]
    found = pythia_trainer(tmp_path, data).evaluate()
    assert "eval_reasoning_accuracy" in found
    assert not any(f"eval_{name}" in found for name in RANKED)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "text"}, r"similarity='text'"),
        ({"correctness": "half"}, r"correctness='half'"),
        ({"wpr": "sum"}, r"wpr='sum'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        QuestionConsistency(**options)


def test_a_model_without_the_question_s_side_is_told(tmp_path):
    trainer = pythia_trainer(tmp_path, several(), QuestionConsistency("question"))
    batch = trainer.data_collator(several()[:1])
    layer = QuestionConsistency("question").needs()
    assert (FULL, "question") in layer
    family = trainer.family
    assert isinstance(family.path("question", trainer.model), str)
    with pytest.raises(ValueError, match=r"layer='question' is neither one of"):
        Forward(trainer.model, type(family)(layers={}), batch, InputXGradient("question").needs())
