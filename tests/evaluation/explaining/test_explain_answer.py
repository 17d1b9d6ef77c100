"""explain_answer: scores of boxes by hand and as a Forward gives them, answers, and what is refused."""

import numpy as np
import pytest
import torch
from nets import photo
from toy_vqa import ANSWERS, DIMS, OBJECTS, fresh_region_model

from hf_guidance import AnswerVocabulary, QuestionCollator, explain, explain_answer
from hf_guidance.attributions import AttentionWeights, InputXGradient, LeaveOneOut
from hf_guidance.models import word_tokenizer
from hf_guidance.views import zeros

NAMES = ("red", "blue", "green", "two", "yes", "no")
TOKENIZER = word_tokenizer(["what is on the table", "how many"])
VOCABULARY = AnswerVocabulary(NAMES)
QUESTION = "what is on the table"
FEATURES = np.random.default_rng(0).standard_normal((OBJECTS, DIMS)).astype(np.float32)
CORNERS = np.random.default_rng(1).random((OBJECTS, 2)) / 2
BOXES = np.concatenate([CORNERS, CORNERS + 0.4], 1).astype(np.float32)


def asked(name="updn", **options):
    collator = QuestionCollator(TOKENIZER, max_length=8)
    return explain_answer(fresh_region_model(name), QUESTION, FEATURES, BOXES, collator, answers=VOCABULARY, **options)


def logits(model, features):
    batch = QuestionCollator(TOKENIZER, max_length=8)(
        [{"question": QUESTION, "question_id": 0, "features": features, "boxes": BOXES}]
    )
    given = ("input_ids", "attention_mask", "visual_feats", "visual_pos", "visual_attention_mask")
    columns = {name: batch[name].double() if batch[name].is_floating_point() else batch[name] for name in given}
    with torch.no_grad():
        outputs = model(**columns)
    return outputs["question_answering_score" if "question_answering_score" in outputs else "logits"][0].numpy()


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_the_default_is_what_the_logit_loses_without_a_box(name):
    found, model = asked(name), fresh_region_model(name)
    whole = logits(model, FEATURES)
    assert found.target == whole.argmax()
    assert found.logit == pytest.approx(whole.max(), abs=1e-5)
    for box in range(OBJECTS):
        without = FEATURES.copy()
        without[box] = 0
        lost = whole[found.target] - logits(model, without)[found.target]
        assert found.box_scores[box] == pytest.approx(lost, abs=1e-5)


def test_answers_and_probabilities():
    found, whole = asked(top_k=3), torch.tensor(logits(fresh_region_model("updn"), FEATURES))
    order = whole.argsort(descending=True)[:3].tolist()
    assert [answer for answer, _ in found.top] == [NAMES[number] for number in order]
    assert [score for _, score in found.top] == pytest.approx(whole.softmax(0)[order].tolist(), abs=1e-5)
    assert (found.answer, found.score) == found.top[0]
    assert np.abs(found.boxes - BOXES).max() < 1e-7
    assert len(asked(top_k=50).top) == ANSWERS


@pytest.mark.parametrize("target", ["two", 3])
def test_an_answer_that_is_asked_for(target):
    found = asked(target=target, attribution=InputXGradient())
    assert (found.target, found.answer) == (3, "two")
    assert found.box_scores.shape == (OBJECTS,)


def test_a_collator_brings_its_answers():
    collator = QuestionCollator(TOKENIZER, VOCABULARY)
    found = explain_answer(fresh_region_model("updn"), QUESTION, FEATURES, BOXES, collator)
    assert found.answer in NAMES
    assert not collator.counts
    plain = explain_answer(fresh_region_model("updn"), QUESTION, FEATURES, BOXES, TOKENIZER)
    assert plain.answer == f"LABEL_{plain.target}"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_every_mode_and_left_alone(mode):
    model = fresh_region_model("updn").train()
    collator = QuestionCollator(TOKENIZER, max_length=8)
    with mode():
        found = explain_answer(model, QUESTION, FEATURES, BOXES, collator, attribution="InputXGradient")
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert np.abs(found.box_scores - asked(attribution="InputXGradient").box_scores).max() < 1e-12


def test_attention():
    scores = asked(attribution=AttentionWeights()).box_scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "bleu"}, r"target='bleu' is no label.*'blue'"),
        ({"target": 6}, "target=6, and the model has 6 classes"),
        ({"top_k": 0}, "top_k=0; give a whole number"),
        ({"attribution": "GradCAM2"}, "attribution='GradCAM2' is unknown"),
    ],
)
def test_what_does_not_exist_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        asked(**options)


def test_wrong_boxes_and_models_are_refused():
    with pytest.raises(ValueError, match="row 0"):
        explain_answer(fresh_region_model("updn"), QUESTION, FEATURES, BOXES * 9, TOKENIZER)
    with pytest.raises(
        ValueError, match=r"reads 'visual_feats' and no images; for questions over boxes use explain_answer"
    ):
        explain(fresh_region_model("updn"), torch.zeros(1, 3, 4, 4))


def test_pictures(tmp_path):
    found = asked()
    assert found.attribution == LeaveOneOut(replace=zeros)
    photo(60, 80).save(tmp_path / "photo.png")
    for image in (None, photo(60, 80), tmp_path / "photo.png"):
        found.save(tmp_path / "boxes.png", image=image)
        assert (tmp_path / "boxes.png").stat().st_size > 3000
    axis = found.plot(photo(60, 80)).axes[0]
    assert len(axis.patches) == 2 * OBJECTS
    strongest = axis.patches[-1]
    box = BOXES[np.abs(found.box_scores).argmax()] * [80, 60, 80, 60]
    assert strongest.get_xy() == pytest.approx(box[:2] - 0.5)
    told = found.to_dict()
    assert (told["answer"], len(told["box_scores"])) == (found.answer, OBJECTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answers": NAMES}, r"answers is a tuple; give an AnswerVocabulary"),
        ({"answers": AnswerVocabulary(NAMES[:4])}, r"the answers number 4 and the model's classes 6"),
        ({"answers": AnswerVocabulary((*NAMES, "cat"))}, r"the answers number 7 and the model's classes 6"),
        ({"target": ["red", "two"]}, r"target=\['red', 'two'\] are several answers; give one"),
        ({"target": np.array([1, 2])}, r"are several answers; give one"),
        ({"tokenizer": None}, r"tokenizer is a NoneType; give the model's tokenizer"),
    ],
)
def test_options_of_another_kind_are_named(options, message):
    given = {"tokenizer": TOKENIZER} | options
    with pytest.raises(ValueError, match=message):
        explain_answer(fresh_region_model("updn"), QUESTION, FEATURES, BOXES, **given)


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_a_layer_without_boxes_is_refused(name):
    with pytest.raises(
        ValueError, match=r"InputXGradient.*numbers and not one for each of 5 boxes; choose a layer with boxes"
    ):
        asked(name, attribution=InputXGradient("fusion"))
