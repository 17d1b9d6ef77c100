"""Stacked attention networks against their formulas, and what they take and refuse."""

import pytest
import torch
from tiny_san import BATCH, CLASSES, DIMS, OBJECTS, WORDS, tiny_inputs, tiny_labels, tiny_san
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForVisualQuestionAnswering

from hf_guidance.models import SANConfig, SANForQuestionAnswering, load_glove, word_tokenizer

EXACT = {"rtol": 1e-12, "atol": 1e-14}


def by_the_formulas(model, words, boxes):
    """One question, word by word, box by box and hop by hop."""
    weights = dict(model.named_parameters())

    def linear(name, x):
        return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0)

    size = model.config.hidden_size
    state = cell = torch.zeros(size, dtype=torch.float64)
    for word in words:
        gates = weights["question_encoder.weight_ih_l0"] @ weights["words.weight"][word]
        gates = gates + weights["question_encoder.bias_ih_l0"]
        gates = gates + weights["question_encoder.weight_hh_l0"] @ state + weights["question_encoder.bias_hh_l0"]
        enters, stays, new, leaves = gates.split(size)
        cell = stays.sigmoid() * cell + enters.sigmoid() * new.tanh()
        state = leaves.sigmoid() * cell.tanh()
    seen = [linear("box_projection.0", x).tanh() for x in boxes]
    query = state
    for hop in range(model.config.hops):
        scores = [
            linear(f"hops.{hop}.score", (linear(f"hops.{hop}.box", v) + linear(f"hops.{hop}.query", query)).tanh())[0]
            for v in seen
        ]
        attention = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        query = sum(p * v for p, v in zip(attention, seen, strict=True)) + query
    return linear("classifier.1", query), attention, state, query


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_against_the_formulas(hops):
    model, given, fused = tiny_san(hops=hops), tiny_inputs(), []
    model.fusion.register_forward_hook(lambda module, args, output: fused.append(output))
    output = model(**given)
    for row in range(BATCH):
        logits, attention, question, query = by_the_formulas(model, *(value[row] for value in given.values()))
        torch.testing.assert_close(output.logits[row], logits, **EXACT)
        torch.testing.assert_close(output.attention[row], attention, **EXACT)
        torch.testing.assert_close(output.question_embedding[row], question, **EXACT)
        torch.testing.assert_close(fused[0][row], query, **EXACT)
    assert output.box_projection.shape == (BATCH, OBJECTS, 7)


def test_sizes():
    with torch.device("meta"):
        model = SANForQuestionAnswering(SANConfig(vocab_size=101, num_labels=3129))
    sizes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert sizes["question_encoder.weight_ih_l0"] == (4 * 1024, 300)
    assert sizes["box_projection.0.weight"] == (1024, 2048)
    assert len(model.hops) == 2
    for hop in range(2):
        assert sizes[f"hops.{hop}.box.weight"] == sizes[f"hops.{hop}.query.weight"] == (512, 1024)
        assert f"hops.{hop}.box.bias" not in sizes
        assert sizes[f"hops.{hop}.score.weight"] == (1, 512)
    assert sizes["classifier.1.weight"] == (3129, 1024)


@pytest.mark.parametrize("where", [[0, 1], [4, 5], [1, 3], []])
def test_padding_words_take_no_part(where):
    """Wherever they are, and whatever they hold."""
    model, given = tiny_san(), tiny_inputs()
    mask = torch.ones(BATCH, 6, dtype=torch.int64)
    mask[0, where] = 0
    padded = given["input_ids"].clone()
    padded[0, where] = WORDS
    masked = model(**given | {"input_ids": padded}, attention_mask=mask)
    short = {name: value[:1] for name, value in given.items()}
    short["input_ids"] = given["input_ids"][:1, mask[0].bool()]
    torch.testing.assert_close(masked.logits[:1], model(**short).logits, **EXACT)
    torch.testing.assert_close(masked.logits[1:], model(**given).logits[1:], **EXACT)
    torch.testing.assert_close(masked.logits, model(**given, attention_mask=mask).logits, **EXACT)


def test_padding_boxes_are_as_if_absent():
    model, given = tiny_san(), tiny_inputs()
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0] * 5])
    features = given["visual_feats"].requires_grad_()
    output = model(**given, visual_attention_mask=mask)
    fewer = {"input_ids": given["input_ids"][[1]], "visual_feats": features[[1], :3]}
    torch.testing.assert_close(output.logits[1], model(**fewer).logits[0], **EXACT)
    assert not output.attention[1, 3:].any()
    assert not output.attention[2].any()
    torch.testing.assert_close(output.logits[2], model.classifier(output.question_embedding)[2], **EXACT)
    (by_boxes,) = torch.autograd.grad(output.logits.sum(), features, create_graph=True)
    assert not by_boxes[1, 3:].any()
    assert not by_boxes[2].any()
    for gradient in torch.autograd.grad(by_boxes.square().sum() + output.logits.sum(), list(model.parameters())):
        assert gradient.isfinite().all()
    other = features.detach().clone()
    other[1, 3:], other[2] = 7.0, -3.0
    torch.testing.assert_close(
        model(**given | {"visual_feats": other}, visual_attention_mask=mask).logits, output.logits, rtol=0, atol=0
    )


def test_questions_of_padding_alone_and_no_box_at_all():
    model, given = tiny_san(), tiny_inputs()
    output = model(**given, attention_mask=torch.zeros(BATCH, 6, dtype=torch.int64))
    assert not output.question_embedding.any()
    for gradient in torch.autograd.grad(output.logits.sum(), list(model.parameters()), allow_unused=True):
        assert gradient is None or gradient.isfinite().all()
    assert model(**given | {"visual_feats": given["visual_feats"][:, :0]}).logits.isfinite().all()


@pytest.mark.parametrize("row", range(BATCH))
def test_a_batch_of_one(row):
    model, given, labels = tiny_san(), tiny_inputs(), tiny_labels()
    whole = model(**given, labels=labels)
    one = model(**{name: value[[row]] for name, value in given.items()}, labels=labels[[row]])
    torch.testing.assert_close(one.logits[0], whole.logits[row], **EXACT)
    assert one.loss.shape == ()


def test_several_questions_about_each_image_project_it_once():
    """Values, and derivatives by parameters and boxes, are those of the images repeated."""
    model, given, copies = tiny_san(), tiny_inputs(), 3
    others = torch.cat([tiny_inputs(seed=seed)["input_ids"] for seed in range(copies)])
    mask = torch.ones(BATCH, OBJECTS, dtype=torch.int64)
    mask[0, 3:] = 0
    features = given["visual_feats"].requires_grad_()
    seen, labels = [], tiny_labels(copies * BATCH)
    for module in (model.box_projection, *(hop.box for hop in model.hops)):
        module.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    ours = model(others, features, visual_attention_mask=mask, labels=labels)
    assert seen == [BATCH] * 3
    theirs = model(
        others, features.repeat(copies, 1, 1), visual_attention_mask=mask.repeat(copies, 1), labels=labels
    )  # fmt: skip
    for name in ("logits", "attention", "loss"):
        torch.testing.assert_close(ours[name], theirs[name], **EXACT)
    wanted = [features, *model.parameters()]
    for a, b in zip(torch.autograd.grad(ours.loss, wanted), torch.autograd.grad(theirs.loss, wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_classes_are_soft_scores_of_one(name):
    model, given = tiny_san(answer_loss=name), tiny_inputs()
    classes = torch.tensor([2, 0, 5])
    soft = torch.nn.functional.one_hot(classes, CLASSES).double()
    ours, theirs = (model(**given, labels=labels).loss for labels in (classes, soft))
    torch.testing.assert_close(ours, theirs)


def test_derivatives_of_the_gradient_by_boxes():
    """What attribution losses need: d/d parameters and d/d boxes of d score / d boxes, by finite differences."""
    model, given = tiny_san(hidden_size=3), tiny_inputs(2)
    names = [name for name, _ in model.named_parameters()]

    def gradient(features, *values):
        with torch.enable_grad():
            filled = dict(zip(names, values, strict=True))
            output = functional_call(model, filled, (given["input_ids"], features))
            return torch.autograd.grad(
                output.logits[:, 1].sum() + output.attention[:, 0].sum(), features, create_graph=True
            )[0]

    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    features = given["visual_feats"].requires_grad_()
    assert gradient(features, *parameters).abs().max() > 1e-3
    assert torch.autograd.gradcheck(gradient, (features, *parameters), fast_mode=True)


def test_saved_and_loaded(tmp_path):
    model, given = tiny_san(id2label={0: "red", 1: "no"}, num_labels=2, hops=3), tiny_inputs()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert type(loaded) is SANForQuestionAnswering
    assert not loaded.training
    assert loaded.config.id2label == {0: "red", 1: "no"}
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, SANConfig)
    assert (config.hidden_size, config.attention_size, config.hops, config.classifier_dropout) == (7, 3, 3, 0.5)
    assert (config.pad_token_id, config.answer_loss) == (WORDS, "softmax")
    torch.testing.assert_close(loaded(**given).logits, model(**given).logits, rtol=0, atol=0)


def test_a_checkpoint_for_other_answers_gets_a_new_head(tmp_path):
    model = tiny_san()
    model.save_pretrained(tmp_path)
    loaded = SANForQuestionAnswering.from_pretrained(tmp_path, num_labels=11, ignore_mismatched_sizes=True)
    assert loaded.classifier[1].weight.shape == (11, 7)
    assert 0 < loaded.classifier[1].weight.abs().max() <= 7**-0.5
    for name in ("words.weight", "question_encoder.weight_hh_l0", "box_projection.0.bias", "hops.1.score.weight"):
        torch.testing.assert_close(loaded.get_parameter(name), model.get_parameter(name), rtol=0, atol=0)


def test_dropout_is_before_the_answers_alone_and_the_lstm_trains_in_eval_mode_too():
    model, given = tiny_san(classifier_dropout=0.0), tiny_inputs()
    assert model.eval().question_encoder.training
    assert not model.training
    torch.testing.assert_close(model(**given).logits, model.train()(**given).logits, rtol=0, atol=0)
    dropped, plain = tiny_san().train(), tiny_san()
    assert not torch.equal(dropped(**given).logits, plain(**given).logits)
    assert torch.equal(dropped(**given).attention, plain(**given).attention)


def test_word_vectors_of_glove(tmp_path):
    tokenizer = word_tokenizer(["is it red"])
    model = tiny_san(vocab_size=len(tokenizer))
    (tmp_path / "glove.txt").write_text("red 1 2 3 4 5\n")
    assert load_glove(model, tmp_path / "glove.txt", tokenizer.get_vocab()) == 1
    assert model.words.weight[2].tolist() == [1, 2, 3, 4, 5]
    assert not model.words.weight[3].any()


def test_tuples():
    logits, attention, *_ = tiny_san()(**tiny_inputs(), return_dict=False)
    assert logits.shape == (BATCH, CLASSES)
    assert attention.shape == (BATCH, OBJECTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": None}, "input_ids has shape None; pass"),
        ({"input_ids": torch.full((BATCH, 2), 99)}, r"beyond the 9 rows.*SANConfig\(vocab_size=len\(tokenizer\)"),
        (
            {"attention_mask": torch.ones(BATCH, 2)},
            r"attention_mask of shape \(3, 2\) does not fit input_ids of shape \(3, 6\)",
        ),
        ({"visual_feats": None}, r"visual_feats has shape None; \(batch, objects, 4\)"),
        ({"visual_feats": torch.zeros(BATCH, DIMS)}, r"visual_feats has shape \(3, 4\)"),
        (
            {"visual_feats": torch.zeros(2, OBJECTS, DIMS)},
            "2 rows cannot be repeated to 3: there are 3 questions and 2 images",
        ),
        ({"visual_attention_mask": torch.ones(BATCH, 2)}, r"visual_attention_mask of shape \(3, 2\) does not fit 5"),
        ({"labels": torch.zeros(BATCH, 2)}, r"labels of shape \(3, 2\) do not fit logits of shape \(3, 6\)"),
        ({"box_projection": torch.zeros(BATCH, 2, 7)}, r"box_projection of shape \(3, 2, 7\) does not belong"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        tiny_san()(**tiny_inputs() | given)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"attention_size": 0}, r"SANConfig\(attention_size=0\) must be a whole number of at least 1\."),
        ({"hops": 0}, r"SANConfig\(hops=0\)"),
        ({"hidden_size": None}, r"SANConfig\(hidden_size=None\)"),
        ({"classifier_dropout": 1.0}, r"SANConfig\(classifier_dropout=1.0\) is outside \[0, 1\)"),
        ({"pad_token_id": 9}, r"SANConfig\(pad_token_id=9\) is not a row of an embedding of 9 rows"),
        ({"answer_loss": "bce"}, r"answer_loss='bce'.*'softmax', 'sigmoid'"),
    ],
)
def test_sizes_that_make_no_model(field, message):
    with pytest.raises(ValueError, match=message):
        tiny_san(**field)
