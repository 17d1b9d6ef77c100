import pytest
import torch
from tiny_updn import BATCH, CLASSES, DIMS, OBJECTS, WORDS, tiny_inputs, tiny_labels, tiny_updn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm
from transformers import AutoConfig, AutoModelForVisualQuestionAnswering

from hf_guidance.models import UpDnConfig, UpDnForQuestionAnswering
from hf_guidance.models.shared.normed_linear import NormedLinear


def by_the_formulas(model, words, boxes):
    """One question, box by box and word by word."""
    weights = dict(model.named_parameters())

    def layer(name, x):
        direction = weights[f"{name}.direction"]
        length = direction.square().sum().sqrt()
        return weights[f"{name}.scale"] * (direction @ x) / length + weights[f"{name}.bias"]

    size = model.config.hidden_size
    state = torch.zeros(size, dtype=torch.float64)
    for word in words:
        of_word = weights["question_encoder.weight_ih_l0"] @ weights["words.weight"][word]
        of_word = of_word + weights["question_encoder.bias_ih_l0"]
        of_state = weights["question_encoder.weight_hh_l0"] @ state + weights["question_encoder.bias_hh_l0"]
        reset, update = (of_word + of_state)[:size].sigmoid(), (of_word + of_state)[size : 2 * size].sigmoid()
        new = (of_word[2 * size :] + reset * of_state[2 * size :]).tanh()
        state = new + update * (state - new)
    gate = layer("question_projection", state).relu()
    scores = torch.stack([layer("attention_score", layer("box_projection", x).relu() * gate)[0] for x in boxes])
    attention = scores.exp() / scores.exp().sum()
    seen = sum(a * x for a, x in zip(attention, boxes, strict=True))
    joint = layer("question_gate", state).relu() * layer("box_gate", seen).relu()
    return layer("classifier.3", layer("classifier.0", joint).relu()), attention


def test_against_the_formulas():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    output = model(input_ids, features)
    for row in range(BATCH):
        logits, attention = by_the_formulas(model, input_ids[row], features[row])
        torch.testing.assert_close(output.logits[row], logits, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(output.attention[row], attention, rtol=1e-12, atol=1e-14)
    assert output.question_embedding.shape == (BATCH, 7)
    assert output.box_projection.shape == (BATCH, OBJECTS, 7)


def test_sizes_of_the_paper():
    model = UpDnForQuestionAnswering(UpDnConfig(vocab_size=101, num_labels=28))
    assert sum(p.numel() for p in model.parameters()) == 17_982_336  # 17.98 M with 100 words and 28 answers
    assert not model.words.weight[100].any()
    weight = model.question_encoder.weight_hh_l0
    assert weight.std().item() == pytest.approx((2 / (1 + 0.01**2) / 1280) ** 0.5, rel=0.01)
    layer = model.box_gate
    torch.testing.assert_close(layer.weight, layer.direction)  # at first the length is that of the weight drawn
    assert layer.direction.std().item() == pytest.approx(1 / (3 * 2048) ** 0.5, rel=0.01)


def test_normed_linear_is_weight_norm_with_one_scalar():
    ours, theirs = NormedLinear(4, 3).double(), weight_norm(torch.nn.Linear(4, 3).double(), dim=None)
    with torch.no_grad():
        ours.scale.fill_(0.7)
        theirs.parametrizations.weight.original0.copy_(ours.scale)
        theirs.parametrizations.weight.original1.copy_(ours.direction)
        theirs.bias.copy_(ours.bias)
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("row", range(BATCH))
def test_a_batch_of_one(row):
    model, (input_ids, features), labels = tiny_updn(), tiny_inputs(), tiny_labels()
    whole = model(input_ids, features, labels=labels)
    one = model(input_ids[[row]], features[[row]], labels=labels[[row]])
    torch.testing.assert_close(one.logits[0], whole.logits[row])
    assert one.loss.shape == ()


def test_padding_boxes_are_as_if_absent():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0] * 5])
    output = model(input_ids, features.requires_grad_(), visual_attention_mask=mask)
    torch.testing.assert_close(output.logits[1], model(input_ids[[1]], features[[1], :3]).logits[0])
    assert not output.attention[1, 3:].any()
    # Nothing but padding: no box is looked at, and the answer is that to an image of zeros.
    assert not output.attention[2].any()
    torch.testing.assert_close(output.logits[2], model(input_ids[[2]], torch.zeros_like(features[[2]])).logits[0])
    (by_boxes,) = torch.autograd.grad(output.logits.sum(), features, create_graph=True)
    assert not by_boxes[1, 3:].any()
    assert not by_boxes[2].any()
    for gradient in torch.autograd.grad(by_boxes.square().sum() + output.logits.sum(), list(model.parameters())):
        assert gradient.isfinite().all()


def test_several_questions_about_each_image_project_it_once():
    """Values and derivatives are those of the images repeated."""
    model, (_, features), copies = tiny_updn(), tiny_inputs(), 3
    others, labels = torch.cat([tiny_inputs(seed=seed)[0] for seed in range(copies)]), tiny_labels(copies * BATCH)
    projected = []
    model.box_projection.register_forward_hook(lambda module, args, output: projected.append(len(output)))
    ours = model(others, features.requires_grad_(), labels=labels)
    assert projected == [BATCH]
    theirs = model(others, features.repeat(copies, 1, 1), labels=labels)
    for name in ("logits", "attention", "loss"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-14)
    wanted = [features, *model.parameters()]
    for a, b in zip(torch.autograd.grad(ours.loss, wanted), torch.autograd.grad(theirs.loss, wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=r"3 rows cannot be repeated to 4: there are 4 questions and 3 images"):
        model(others[:4], features)


def test_no_box_at_all():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    assert model(input_ids, features[:, :0]).logits.isfinite().all()


def test_left_padding_takes_part_and_boxes_places_and_mask_do_not():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    logits = model(input_ids, features).logits
    assert not torch.allclose(logits, model(input_ids[:, 2:], features).logits)
    ignored = {"visual_pos": torch.rand(BATCH, OBJECTS, 4), "attention_mask": (input_ids != WORDS).long()}
    torch.testing.assert_close(logits, model(input_ids, features, **ignored).logits, rtol=0, atol=0)
    permutation = torch.randperm(OBJECTS)
    torch.testing.assert_close(logits, model(input_ids, features[:, permutation]).logits)


@pytest.mark.parametrize("case", range(6))
def test_losses_of_visfis(golden, agree, case):
    data = golden("visfis/task_loss")
    name = "sigmoid" if "sigmoid" in str(data[f"c{case}__variant"]) else "softmax"
    model = tiny_updn(answer_loss=name, num_labels=data[f"c{case}__logits"].shape[1])
    logits, labels = (torch.from_numpy(data[f"c{case}__{part}"]) for part in ("logits", "answers"))
    # The answers' bias brings the logits of the file where those of the model are zero.
    with torch.no_grad():
        model.classifier[3].scale.zero_()
        model.classifier[3].bias.copy_(logits[0])
    input_ids, features = tiny_inputs(len(logits))
    loss = model(input_ids[:1], features[:1], labels=labels[:1]).loss
    agree("visfis/task_loss (UpDn)", model._loss(logits, labels), data[f"c{case}__loss"])
    torch.testing.assert_close(loss, model._loss(logits[:1], labels[:1]))


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_classes_are_soft_scores_of_one(name):
    model, (input_ids, features) = tiny_updn(answer_loss=name), tiny_inputs()
    classes = torch.tensor([2, 0, 5])
    soft = torch.nn.functional.one_hot(classes, CLASSES).double()
    ours, theirs = (model(input_ids, features, labels=labels).loss for labels in (classes, soft))
    torch.testing.assert_close(ours, theirs)


def test_derivatives_of_the_gradient_by_boxes():
    """What attribution losses need: d/d parameters and d/d boxes of d score / d boxes, by finite differences."""
    model, (input_ids, features) = tiny_updn(word_size=2, hidden_size=4, classifier_size=5), tiny_inputs(2)
    input_ids = input_ids[:, 2:]  # without padding, whose row is fixed: its derivative is 0 by definition
    names = [name for name, _ in model.named_parameters()]

    def gradient(features, *values):
        with torch.enable_grad():
            output = functional_call(model, dict(zip(names, values, strict=True)), (input_ids, features))
            score = output.logits[:, 1].sum() + output.attention[:, 0].sum()
            return torch.autograd.grad(score, features, create_graph=True)[0]

    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    assert gradient(features.requires_grad_(), *parameters).abs().max() > 1e-3
    assert torch.autograd.gradcheck(gradient, (features, *parameters))


def test_gradgradcheck():
    model, (input_ids, features) = tiny_updn(hidden_size=4), tiny_inputs(2)
    names = ["box_projection.direction", "box_projection.scale", "attention_score.direction", "box_gate.bias"]
    values = [model.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def logits(features, *values):
        return functional_call(model, dict(zip(names, values, strict=True)), (input_ids, features)).logits

    assert torch.autograd.gradgradcheck(logits, (features.requires_grad_(), *values))


def test_saved_and_loaded(tmp_path):
    model, (input_ids, features) = tiny_updn(id2label={0: "red", 1: "no"}, num_labels=2), tiny_inputs()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert type(loaded) is UpDnForQuestionAnswering
    assert not loaded.training
    assert loaded.config.id2label == {0: "red", 1: "no"}
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, UpDnConfig)
    assert (config.hidden_size, config.classifier_size, config.pad_token_id) == (7, 9, WORDS)
    torch.testing.assert_close(loaded(input_ids, features).logits, model(input_ids, features).logits, rtol=0, atol=0)


def test_a_checkpoint_for_other_answers_gets_a_new_head(tmp_path):
    model = tiny_updn()
    model.save_pretrained(tmp_path)
    loaded = UpDnForQuestionAnswering.from_pretrained(tmp_path, num_labels=11, ignore_mismatched_sizes=True)
    assert loaded.classifier[3].direction.shape == (11, 9)
    assert loaded.classifier[3].direction.abs().max() <= 1 / 3
    assert loaded.classifier[3].bias.isfinite().all()
    for name in ("words.weight", "box_gate.direction", "classifier.0.scale"):
        torch.testing.assert_close(loaded.get_parameter(name), model.get_parameter(name), rtol=0, atol=0)


def test_encoder_trains_in_eval_mode_on_cudnn_too():
    assert tiny_updn().eval().question_encoder.training
    assert not tiny_updn().eval().training


def test_tuples():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    logits, attention, *_ = model(input_ids, features, return_dict=False)
    assert logits.shape == (BATCH, CLASSES)
    assert attention.shape == (BATCH, OBJECTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": None}, "input_ids has shape None; pass"),
        ({"input_ids": torch.zeros(BATCH, 0, dtype=torch.int64)}, r"input_ids has shape \(3, 0\)"),
        ({"input_ids": torch.full((BATCH, 2), 99)}, r"beyond the 9 rows.*vocab_size=len\(tokenizer\)"),
        ({"visual_feats": None}, r"visual_feats has shape None; \(batch, objects, 4\)"),
        ({"visual_feats": torch.zeros(BATCH, OBJECTS, 2)}, r"visual_feats has shape \(3, 5, 2\)"),
        ({"visual_feats": torch.zeros(BATCH, DIMS)}, r"visual_feats has shape \(3, 4\)"),
        ({"visual_attention_mask": torch.ones(BATCH, 2)}, r"visual_attention_mask of shape \(3, 2\) does not fit 5"),
        ({"visual_attention_mask": torch.ones(2, OBJECTS)}, "2 rows cannot be repeated to 3"),
        ({"labels": torch.zeros(BATCH, 2)}, r"labels of shape \(3, 2\) do not fit logits of shape \(3, 6\)"),
        ({"labels": torch.zeros(BATCH)}, r"labels of shape \(3,\)"),
    ],
)
def test_bad_input(given, message):
    input_ids, features = tiny_inputs()
    with pytest.raises(ValueError, match=message):
        tiny_updn()(**{"input_ids": input_ids, "visual_feats": features} | given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden_size": 0}, r"UpDnConfig\(hidden_size=0\) must be at least 1"),
        ({"attention_dropout": 1.0}, r"attention_dropout=1.0\) is outside \[0, 1\)"),
        ({"pad_token_id": 19902}, "is not a row of an embedding of 19902 rows"),
        ({"answer_loss": "bce"}, r"answer_loss='bce'\) is unknown; choose one of \['softmax', 'sigmoid'\]"),
    ],
)
def test_bad_sizes(given, message):
    with pytest.raises(ValueError, match=message):
        UpDnConfig(**given)


def test_the_row_of_padding_stays_zero():
    model, (input_ids, features) = tiny_updn(), tiny_inputs()
    model(input_ids, features, labels=tiny_labels()).loss.backward()
    assert not model.words.weight[WORDS].any()
    assert not model.words.weight.grad[WORDS].any()
    assert model.words.weight.grad.any()
