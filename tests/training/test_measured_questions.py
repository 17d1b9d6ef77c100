"""evaluate() of triples: answers outside the vocabulary, questions without answers, and the control."""

import pytest
import torch
from test_question_consistency import PAIRED, RANKED, pythia_trainer, several
from test_triples_training import rows

from hf_guidance.data import QuestionTripleCollator


def always_yes(folder, data):
    """What evaluate() says of a model that answers every question with "yes"."""
    trainer = pythia_trainer(folder, data)
    with torch.no_grad():
        trainer.model.text_branch[2].bias[:] = torch.tensor([50.0, 0.0])
    found = trainer.evaluate()
    return {name.removeprefix("eval_"): value for name, value in found.items()}


def of_answers(*answers):
    """Rows of different questions with these answers of reasoning and sub-question; the irrelevant one is "no"."""
    made = []
    for row, (reasoning, sub) in zip(rows(len(answers), 0), answers, strict=True):
        made.append(row | {"answers": reasoning, "sub_answers": sub})
    return made


OUTSIDE = ["zebra"]


@pytest.mark.parametrize("answers", [OUTSIDE, ["zebra", "gnu"]])
def test_an_answer_outside_the_vocabulary_is_wrong(answers, tmp_path):
    yes = ["yes"]
    found = always_yes(tmp_path, of_answers((yes, yes), (yes, yes), (yes, answers), (yes, answers)))
    assert found["consistency"] == 0.5
    assert found["reasoning_accuracy"] == 1
    found = always_yes(tmp_path, of_answers((yes, yes), (yes, yes), (answers, yes), (answers, yes)))
    assert found["reasoning_accuracy"] == found["r_right_s_right"] == found["r_wrong_s_right"] == 0.5
    assert found["consistency"] == 1
    found = always_yes(tmp_path, of_answers((answers, answers)))
    assert found["r_wrong_s_wrong"] == 1
    assert found["reasoning_accuracy"] == 0
    assert "consistency" not in found
    assert not any(name in found for name in RANKED)


@pytest.mark.parametrize("none", [None, []])
def test_a_question_without_answers_is_not_measured(none, tmp_path):
    yes = ["yes"]
    found = always_yes(tmp_path, of_answers((yes, yes), (yes, none), (none, yes), (OUTSIDE, yes)))
    assert found["r_right_s_right"] == found["r_wrong_s_right"] == 0.5  # of two pairs with a truth
    assert found["reasoning_accuracy"] == pytest.approx(2 / 3)


def test_questions_without_a_score_are_left_out_of_the_ranking(tmp_path):
    data = several()
    expected = pythia_trainer(tmp_path, data[:4]).evaluate()
    unlabelled = [row | {"irrelevant_question": text, "irrelevant_answers": OUTSIDE}
                  for row in data[:4] for text in ("is it", "who day")]  # fmt: skip
    unlabelled += [row | {"sub_question": "train move", "sub_answers": OUTSIDE} for row in data[:2]]
    found = pythia_trainer(tmp_path, data[:4] + unlabelled).evaluate()
    assert [found[f"eval_{name}"] for name in RANKED] == pytest.approx([expected[f"eval_{name}"] for name in RANKED])
    assert found["eval_r_right_s_wrong"] + found["eval_r_wrong_s_wrong"] >= 1 / 3  # the one of three outside
    silent = pythia_trainer(tmp_path, [row | {"answers": OUTSIDE} for row in data[:4]]).evaluate()
    assert silent["eval_reasoning_accuracy"] == 0
    assert not any(f"eval_{name}" in silent for name in RANKED)


def test_the_control_is_measured_by_the_true_roles(tmp_path):
    data = several()
    plain, control = pythia_trainer(tmp_path, data), pythia_trainer(tmp_path, data)
    control.eval_data_collator = control.data_collator = QuestionTripleCollator(
        plain.data_collator.tokenizer, plain.data_collator.answers, control_seed=1
    )
    assert 2 in control.data_collator(data[:1] + data[4:5])["compared_as"][1::3]
    wanted, found = plain.evaluate(), control.evaluate()
    assert all(found[f"eval_{name}"] == wanted[f"eval_{name}"] for name in (*RANKED, *PAIRED))
