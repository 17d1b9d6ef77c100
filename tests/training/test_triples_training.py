"""GuidedTrainer on triples of questions: groups, questions that stand alone, accumulation, evaluation."""

import datasets
import numpy as np
import pytest
import torch

from hf_guidance import AnswerVocabulary, Guidance, GuidanceArguments, GuidedTrainer, QuestionCollator, recipes
from hf_guidance.attributions import InputXGradient
from hf_guidance.data import QuestionTripleCollator
from hf_guidance.data.questions import triples
from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering, word_tokenizer
from hf_guidance.objectives import Alignment, AnswerLoss, ContrastiveSOrT, RoleAnswerLoss

QUESTIONS = ["is it day", "is the sky bright", "does the train move"]
LAYER = "classifier.1"


def rows(count=8, alone=2):
    generator = np.random.default_rng(0)
    made = []
    for number in range(count):
        corners = generator.random((4, 2)).astype(np.float32) / 2
        row = {
            "question_id": str(number), "image_id": str(number), "question": QUESTIONS[0], "answers": ["yes"],
            "features": generator.standard_normal((4, 6), dtype=np.float32),
            "boxes": np.concatenate([corners, corners + 0.4], 1),
        }  # fmt: skip
        others = {"sub_question": QUESTIONS[1], "sub_answers": ["yes" if number % 2 else "no"]}
        others |= {"irrelevant_question": QUESTIONS[2], "irrelevant_answers": ["no"]}
        made.append(row | (others if number < count - alone else {}))
    return made


def trainer_of(guidance, folder, data=None, collator=QuestionTripleCollator, held_out=None, **options):
    tokenizer, answers = word_tokenizer(QUESTIONS), AnswerVocabulary(("yes", "no"))
    torch.manual_seed(0)
    config = UpDnConfig(
        len(tokenizer), word_size=4, hidden_size=16, visual_feat_dim=6, num_labels=2, classifier_dropout=0.0,
        attention_dropout=0.0,
    )  # fmt: skip
    args = GuidanceArguments(
        str(folder),
        **{
            "per_device_train_batch_size": 4, "max_steps": 3, "report_to": "none", "use_cpu": True, "save_strategy": "no",
            "disable_tqdm": True, "logging_steps": 1, **options,
        },
    )  # fmt: skip
    data = rows() if data is None else data
    return GuidedTrainer(
        UpDnForQuestionAnswering(config), args, train_dataset=data, eval_dataset=data if held_out is None else held_out,
        data_collator=collator(tokenizer, answers), guidance=guidance,
    )  # fmt: skip


GUIDANCES = {
    "sort": lambda: recipes.sort(layer=LAYER),
    "official": lambda: recipes.sort("official", LAYER),
    "only sub-questions": lambda: recipes.sort_only_sub_questions(layer=LAYER, questions=3),
    "squint": lambda: recipes.squint(10.0, questions=3),
}


@pytest.mark.parametrize("name", GUIDANCES)
def test_it_trains_and_evaluates(name, tmp_path):
    guidance = GUIDANCES[name]()
    trainer = trainer_of(guidance, tmp_path)
    (term,) = guidance.guided
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    logged = [entry[f"loss/{term}"] for entry in trainer.state.log_history if f"loss/{term}" in entry]
    assert len(logged) == 3
    assert all(np.isfinite(logged))
    measured = trainer.evaluate()
    assert np.isfinite(measured["eval_loss"])
    weights = {name: term.weight for name, term in guidance.items()}
    expected = sum(weight * measured[f"eval_loss/{name}"] for name, weight in weights.items())
    assert measured["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.predict(rows()).predictions.shape == (6 * 3 + 2, 2)


def test_in_half_precision(tmp_path):
    """Under autocast to bfloat16 the vectors are compared in float32."""
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, bf16=True)
    trainer.train()
    assert all(np.isfinite(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    assert np.isfinite(trainer.evaluate()["eval_loss"])


def test_rows_of_a_data_set(tmp_path):
    """Columns with None, as datasets store what some rows lack, and questions alone among the triples."""
    data = datasets.Dataset.from_list([{k: np.asarray(v).tolist() for k, v in row.items()} for row in rows()])
    assert data[7]["sub_question"] is None
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, data)
    trainer.train()
    assert trainer.state.global_step == 3


def test_the_gradient_is_that_of_one_whole_batch(tmp_path):
    """Questions alone run apart, and reach the task only: as if all ran together, and as if two batches accumulated."""
    guidance = recipes.sort(layer=LAYER)
    found = []
    for options in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        data = rows(8, alone=4)
        data = [data[n] for n in (0, 4, 1, 5, 2, 6, 3, 7)]  # every two rows have as many questions
        trainer = trainer_of(guidance, tmp_path, data, max_steps=1, optim="sgd", max_grad_norm=0.0, **options)
        trainer._get_train_sampler = lambda *args, own=data: torch.utils.data.SequentialSampler(own)
        trainer.train()
        found.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [3, 5, 6])
def test_every_question_of_the_last_batch_is_evaluated(size, tmp_path):
    """However many rows it has: one row of the data set is up to three of the batch."""
    data = rows(8, alone=1)
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, data, per_device_eval_batch_size=size)
    whole = trainer_of(recipes.sort(layer=LAYER), tmp_path, data, per_device_eval_batch_size=8)
    found, expected = trainer.evaluate(), whole.evaluate()
    assert {name for name in expected if "loss" in name} == {"eval_loss", "eval_loss/task", "eval_loss/sort"}
    assert all(found[name] == pytest.approx(expected[name], rel=1e-5) for name in expected if "loss" in name)
    predicted, all_at_once = trainer.predict(data), whole.predict(data)
    assert predicted.predictions.shape == predicted.label_ids.shape == (7 * 3 + 1, 2)
    np.testing.assert_allclose(predicted.predictions, all_at_once.predictions, rtol=1e-5, atol=1e-6)


def test_evaluation_on_several_processes_is_refused(tmp_path):
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.args), "world_size", 2)
        with pytest.raises(ValueError, match=r"QuestionTripleCollator makes several rows.*evaluate in one process"):
            trainer.get_eval_dataloader()


def test_a_training_set_without_sub_questions_is_refused(tmp_path):
    plain = [{k: np.asarray(v).tolist() for k, v in row.items()} for row in rows(4, alone=4)]
    with pytest.raises(
        ValueError, match=r"none of the columns \['sub_question'\], so nothing .*add a column 'sub_question'\."
    ):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, datasets.Dataset.from_list(plain))


def test_a_collator_of_single_questions_says_what_is_missing(tmp_path):
    data = [row | {"importance": [1.0, 0.0, 0.0, 0.0]} for row in rows()]
    with pytest.raises(ValueError, match="no column 'role'"):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, data, QuestionCollator).train()


def test_a_term_on_importance_says_that_triples_bring_none(tmp_path):
    guidance = Guidance(task=AnswerLoss(), align=Alignment())
    with pytest.raises(ValueError, match=r"the batch has no \['importance'\], which guidance reads"):
        trainer_of(guidance, tmp_path).train()


def pairs_of(data):
    return [{k: v for k, v in row.items() if not k.startswith("irrelevant")} for row in data]


def test_batches_without_a_whole_group(tmp_path):
    """Pairs alone in a batch: the contrast counts nothing there, and the task goes on."""
    data = rows(8, alone=0)
    guidance = Guidance(task=RoleAnswerLoss(), sort=ContrastiveSOrT(InputXGradient(LAYER)))
    options = {"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 2}
    trainer = trainer_of(guidance, tmp_path, pairs_of(data[:7]) + data[7:], **options)
    trainer.train()
    assert trainer.state.global_step == 8
    logged = [entry["loss/sort"] for entry in trainer.state.log_history if "loss/sort" in entry]
    assert logged.count(0) >= 6
    task = [entry["loss/task"] for entry in trainer.state.log_history if "loss/task" in entry]
    assert all(value > 0 for value in task)


@pytest.mark.parametrize("of", [list, "dataset"])
@pytest.mark.parametrize(
    ("name", "answers", "message"),
    [
        ("sort", {}, r"term 'sort' \(ContrastiveSOrT\) counted no row of a whole epoch: no row had .*irrelevant_question.*"
                     r"recipes\.sort_only_sub_questions\(\)"),
        ("only sub-questions", {"sub_answers": ["zebra"]}, r"term 'sort' .*no row had a sub-question, both .*vocabulary"),
        ("squint", {"sub_answers": ["zebra"]}, r"term 'squint' \(AttentionSQuINT\) counted no row.*'sub_answers'"),
    ],
)  # fmt: skip
def test_a_term_that_counts_nothing_stops_training(name, answers, message, of, tmp_path):
    data = [row | (answers if "sub_question" in row else {}) for row in pairs_of(rows())]
    if of == "dataset":
        data = datasets.Dataset.from_list([{k: np.asarray(v).tolist() for k, v in row.items()} for row in data])
    trainer = trainer_of(GUIDANCES[name](), tmp_path, data, max_steps=-1, num_train_epochs=3)
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert trainer.state.global_step == 2  # a whole epoch
    trainer_of(GUIDANCES[name](), tmp_path, data, max_steps=1).train()  # which may be chance


def test_rows_that_are_all_empty_say_which_columns_count(tmp_path):
    data = [row | {"sub_question": None, "sub_answers": None} for row in rows(4, alone=4)]
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, data, max_steps=-1, num_train_epochs=1)
    with pytest.raises(
        ValueError, match=r"saw no annotated row, .*label to explain, .*in the columns \['sub_question'\]\. "
    ):
        trainer.train()


@pytest.mark.parametrize("of", [list, "dataset"])
def test_training_rows_without_answers_are_refused(of, tmp_path):
    data = [{**{k: v for k, v in row.items() if k != "answers"}, "answer": row["answers"]} for row in rows(4, alone=0)]
    if of == "dataset":
        data = datasets.Dataset.from_list([{k: np.asarray(v).tolist() for k, v in row.items()} for row in data])
    with pytest.raises(ValueError, match=r"row 0 of train_dataset has no column 'answers', from which .*'answer'\]"):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, data)


def test_a_row_without_answers_among_others(tmp_path):
    """Without the column it is refused; with None it trains, and counts in no loss."""
    data = rows(4, alone=0)
    lacking = [*data[:2], {name: value for name, value in data[2].items() if name != "answers"}]
    with pytest.raises(ValueError, match=r"row 2 of train_dataset has no column 'answers'"):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, lacking)
    silent = data[3] | {"answers": None, "sub_answers": [], "irrelevant_answers": None}
    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, [*data[:3], silent])
    model, batch = trainer.model.train(), trainer.data_collator([*data[:3], silent])
    found = trainer.compute_loss(model, dict(batch))
    expected = trainer.compute_loss(model, dict(trainer.data_collator(data[:3])))
    torch.testing.assert_close(found * 12, expected * 9)


SILENT = {"answers": None, "sub_answers": None, "irrelevant_answers": None}


def single_rows(count=4):
    return [{**row, "importance": [1.0, 0.0, 0.5, 0.0]} for row in rows(count, alone=count)]


@pytest.mark.parametrize("collator", [QuestionTripleCollator, QuestionCollator])
def test_a_batch_of_questions_without_answers_is_one_of_training(collator, tmp_path):
    """Whatever the order and the size of batches; evaluation is that of the others."""
    if collator is QuestionTripleCollator:
        task, data, silent = RoleAnswerLoss(), rows(4, alone=0), rows(4, alone=0)[3] | SILENT
    else:
        task, data, silent = AnswerLoss(), single_rows(), single_rows()[3] | {"answers": None}
    options = {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 1}
    trainer = trainer_of(Guidance(task=task), tmp_path, [silent, *data[:3]], collator, **options)
    trainer.train()
    assert trainer.state.global_step == 4
    zeros = [entry["loss"] for entry in trainer.state.log_history if entry.get("loss") == 0]
    assert len(zeros) == 1
    found = []
    for size in (1, 4):
        trainer = trainer_of(
            Guidance(task=task), tmp_path, [silent, *data[:3]], collator, per_device_eval_batch_size=size
        )
        found.append(trainer.evaluate())
    others = trainer_of(Guidance(task=task), tmp_path, data[:3], collator).evaluate()
    assert found[0]["eval_loss"] == pytest.approx(found[1]["eval_loss"], rel=1e-5)
    assert 4 * found[0]["eval_loss"] == pytest.approx(3 * others["eval_loss"], rel=1e-5)
    measured = {name for name in others if "accuracy" in name or "consistency" in name}
    assert all(one[name] == others[name] for one in found for name in measured)
    assert bool(measured) == (collator is QuestionTripleCollator)


def test_rows_without_the_column_are_predicted_alone(tmp_path):
    """A batch of them has no labels, so predict() gives logits and no loss."""
    bare = [{name: value for name, value in row.items() if "answers" not in name} for row in rows(4, alone=0)]
    trainer = trainer_of(Guidance(task=RoleAnswerLoss()), tmp_path)
    assert "labels" not in trainer.data_collator(bare)
    found = trainer.predict(bare)
    assert found.label_ids is None
    assert found.predictions.shape == (12, 2)


@pytest.mark.parametrize("of", [list, "dataset"])
@pytest.mark.parametrize("none", [None, []])
def test_a_training_set_without_any_answer_is_refused(none, of, tmp_path):
    data = [row | dict.fromkeys(SILENT, none) for row in rows(4, alone=0)]
    with_one = [*data[:3], data[3] | {"sub_answers": ["yes"]}]
    if of == "dataset":
        data, with_one = (
            datasets.Dataset.from_list(
                [{k: v if v is None else np.asarray(v).tolist() for k, v in row.items()} for row in given]
            )
            for given in (data, with_one)
        )
    with pytest.raises(
        ValueError, match=r"none of the 4 rows of train_dataset has an answer in \['answers', 'sub_answers', "
    ):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, data)
    trainer_of(recipes.sort(layer=LAYER), tmp_path, with_one)


@pytest.mark.parametrize("of", [list, "dataset"])
@pytest.mark.parametrize("control_seed", [None, 1])
def test_two_questions_of_one_id_train_and_are_not_measured(control_seed, of, tmp_path, monkeypatch):
    """As of two data sets that number from 0: ids say what is measured as one, and what the control swaps alike."""
    said, first = [], rows(4, alone=0)
    twice = [*first, *(row | {"question": "does it move"} for row in first)]
    if of == "dataset":
        twice = datasets.Dataset.from_list([{k: np.asarray(v).tolist() for k, v in row.items()} for row in twice])
    monkeypatch.setattr(triples._logger, "warning", lambda text, *args: said.append(text))

    def made(tokenizer, answers):
        return QuestionTripleCollator(tokenizer, answers, control_seed=control_seed)

    trainer = trainer_of(recipes.sort(layer=LAYER), tmp_path, twice, made, held_out=first)
    assert trainer.train().global_step == 3
    assert len(said) == (control_seed is not None)
    assert all("question_id '0' have two reasoning questions" in text and "control_seed=1" in text for text in said)
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    with pytest.raises(
        ValueError, match=r"eval_dataset: rows of question_id '0' have two .*does it move.*an id of its own"
    ):
        trainer_of(recipes.sort(layer=LAYER), tmp_path, first, made, held_out=twice)
