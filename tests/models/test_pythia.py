"""Pythia against its formulas, and what it takes and refuses; the authors' numbers are in test_golden_pythia.py."""

import pytest
import torch
from tiny_pythia import BATCH, CELLS, CLASSES, DIMS, GRID, OBJECTS, WORDS, tiny_inputs, tiny_labels, tiny_pythia
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForVisualQuestionAnswering

from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering, load_glove, word_tokenizer

EXACT = {"rtol": 1e-12, "atol": 1e-14}


def by_the_formulas(model, words, boxes, cells):
    """One question, word by word, box by box and cell by cell."""
    weights = dict(model.named_parameters())

    def normed(name, x):
        direction = weights[f"{name}.direction"]
        length = direction.square().sum().sqrt()
        return weights[f"{name}.scale"] * (direction @ x) / length + weights[f"{name}.bias"]

    def plain(name, x):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def looked_at(name, places, question):
        gate = normed(f"{name}.question", question).relu()
        scores = [normed(f"{name}.score", normed(f"{name}.projection", x).relu() * gate)[0] for x in places]
        attention = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        return sum(a * x for a, x in zip(attention, places, strict=True)), attention

    size = model.config.hidden_size
    state = cell = torch.zeros(size, dtype=torch.float64)
    states = []
    for word in words:
        gates = weights["text_attention.lstm.weight_ih_l0"] @ weights["words.weight"][word]
        gates = gates + weights["text_attention.lstm.bias_ih_l0"]
        gates = gates + weights["text_attention.lstm.weight_hh_l0"] @ state + weights["text_attention.lstm.bias_hh_l0"]
        enters, stays, new, leaves = gates.split(size)
        cell = stays.sigmoid() * cell + enters.sigmoid() * new.tanh()
        state = leaves.sigmoid() * cell.tanh()
        states.append(state)
    scores = torch.stack([plain("text_attention.score", plain("text_attention.hidden", h).relu()) for h in states])
    of_words = scores.exp() / scores.exp().sum(0)
    question = torch.cat([sum(a * h for a, h in zip(glimpse, states, strict=True)) for glimpse in of_words.T])
    encoded = [plain("box_encoder.0", x).relu() for x in boxes]
    (seen, attention), (grid, _) = (
        looked_at("box_attention", encoded, question),
        looked_at("grid_attention", cells, question),
    )
    joint = normed("fusion.image", torch.cat([seen, grid])).relu() * normed("fusion.question", question).relu()
    logits = sum(
        plain(f"{branch}.2", normed(f"{branch}.0", joint).relu()) for branch in ("text_branch", "image_branch")
    )
    return logits, attention, question


def test_against_the_formulas():
    model, given = tiny_pythia(), tiny_inputs()
    output = model(**given)
    for row in range(BATCH):
        logits, attention, question = by_the_formulas(model, *(value[row] for value in given.values()))
        torch.testing.assert_close(output.logits[row], logits, **EXACT)
        torch.testing.assert_close(output.attention[row], attention, **EXACT)
        torch.testing.assert_close(output.question_embedding[row], question, **EXACT)
    assert output.attended_grid.shape == (BATCH, GRID)
    assert output.grid_attention.shape == (BATCH, CELLS)
    assert output.box_encoding.shape == (BATCH, OBJECTS, 6)
    assert output.box_projection.shape == (BATCH, OBJECTS, 11)


def test_sizes_of_the_paper():
    with torch.device("meta"):
        model = PythiaForQuestionAnswering(PythiaConfig(vocab_size=101, num_labels=3129))
    sizes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert sizes["text_attention.lstm.weight_ih_l0"] == (4 * 1024, 300)
    assert (sizes["text_attention.hidden.weight"], sizes["text_attention.score.weight"]) == ((512, 1024), (2, 512))
    assert sizes["box_encoder.0.weight"] == (2048, 2048)
    for name in ("box_attention", "grid_attention"):
        assert sizes[f"{name}.projection.direction"] == sizes[f"{name}.question.direction"] == (5000, 2048)
        assert sizes[f"{name}.score.direction"] == (1, 5000)
    assert (sizes["fusion.image.direction"], sizes["fusion.question.direction"]) == ((5000, 4096), (5000, 2048))
    assert (sizes["text_branch.0.direction"], sizes["text_branch.2.weight"]) == ((300, 5000), (3129, 300))
    assert (sizes["image_branch.0.direction"], sizes["image_branch.2.weight"]) == ((5000, 5000), (3129, 5000))


@pytest.mark.parametrize("where", [[0, 1], [4, 5], [1, 3], []])
def test_padding_words_take_no_part(where):
    """Wherever they are, and whatever they hold."""
    model, given = tiny_pythia(), tiny_inputs()
    mask = torch.ones(BATCH, 6, dtype=torch.int64)
    mask[0, where] = 0
    padded = given["input_ids"].clone()
    padded[0, where] = WORDS
    masked = model(**given | {"input_ids": padded}, attention_mask=mask)
    short = {name: value[:1] for name, value in given.items()}
    short["input_ids"] = given["input_ids"][:1, mask[0].bool()]
    torch.testing.assert_close(masked.logits[:1], model(**short).logits, **EXACT)
    torch.testing.assert_close(masked.logits[1:], model(**given).logits[1:], **EXACT)
    other = model(**given, attention_mask=mask)
    torch.testing.assert_close(masked.logits, other.logits, **EXACT)


def test_without_a_mask_all_words_are_read_as_in_the_authors_code():
    model, given = tiny_pythia(), tiny_inputs()
    shorter = given | {"input_ids": given["input_ids"][:, 1:]}
    assert not torch.allclose(model(**given).logits, model(**shorter).logits)
    whole = model(**given, attention_mask=torch.ones(BATCH, 6, dtype=torch.int64))
    torch.testing.assert_close(whole.logits, model(**given).logits, **EXACT)


def test_padding_boxes_are_as_if_absent():
    model, given = tiny_pythia(), tiny_inputs()
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [0] * 5])
    features = given["visual_feats"].requires_grad_()
    output = model(**given, visual_attention_mask=mask)
    fewer = {name: value[[1]] for name, value in given.items()} | {"visual_feats": features[[1], :3]}
    torch.testing.assert_close(output.logits[1], model(**fewer).logits[0], **EXACT)
    assert not output.attention[1, 3:].any()
    assert not output.attention[2].any()
    (by_boxes,) = torch.autograd.grad(output.logits.sum(), features, create_graph=True)
    assert not by_boxes[1, 3:].any()
    assert not by_boxes[2].any()
    for gradient in torch.autograd.grad(by_boxes.square().sum() + output.logits.sum(), list(model.parameters())):
        assert gradient.isfinite().all()


def test_questions_of_padding_alone_and_no_box_at_all():
    model, given = tiny_pythia(), tiny_inputs()
    output = model(**given, attention_mask=torch.zeros(BATCH, 6, dtype=torch.int64))
    assert not output.question_embedding.any()
    for gradient in torch.autograd.grad(output.logits.sum(), list(model.parameters()), allow_unused=True):
        assert gradient is None or gradient.isfinite().all()
    assert model(**given | {"visual_feats": given["visual_feats"][:, :0]}).logits.isfinite().all()


@pytest.mark.parametrize("row", range(BATCH))
def test_a_batch_of_one(row):
    model, given, labels = tiny_pythia(), tiny_inputs(), tiny_labels()
    whole = model(**given, labels=labels)
    one = model(**{name: value[[row]] for name, value in given.items()}, labels=labels[[row]])
    torch.testing.assert_close(one.logits[0], whole.logits[row], **EXACT)
    assert one.loss.shape == ()


@pytest.mark.parametrize("grid", [False, True])
def test_several_questions_about_each_image_project_it_once(grid):
    """Values, and derivatives by parameters and boxes, are those of the images repeated."""
    model, given, copies = tiny_pythia(**({} if grid else {"grid_feat_dim": None})), tiny_inputs(grid=grid), 3
    others = torch.cat([tiny_inputs(seed=seed)["input_ids"] for seed in range(copies)])
    mask = torch.ones(BATCH, OBJECTS, dtype=torch.int64)
    mask[0, 3:] = 0
    features = given["visual_feats"].requires_grad_()
    seen, labels = [], tiny_labels(copies * BATCH)
    for module in (model.box_encoder, model.box_attention.projection):
        module.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    ours = model(**given | {"input_ids": others}, visual_attention_mask=mask, labels=labels)
    assert seen == [BATCH, BATCH]
    repeated = {name: value.repeat(copies, 1, 1) for name, value in given.items() if name != "input_ids"}
    theirs = model(others, **repeated, visual_attention_mask=mask.repeat(copies, 1), labels=labels)
    for name in ("logits", "attention", "loss"):
        torch.testing.assert_close(ours[name], theirs[name], **EXACT)
    wanted = [features, *model.parameters()]
    for a, b in zip(torch.autograd.grad(ours.loss, wanted), torch.autograd.grad(theirs.loss, wanted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_classes_are_soft_scores_of_one(name):
    model, given = tiny_pythia(answer_loss=name), tiny_inputs()
    classes = torch.tensor([2, 0, 5])
    soft = torch.nn.functional.one_hot(classes, CLASSES).double()
    ours, theirs = (model(**given, labels=labels).loss for labels in (classes, soft))
    torch.testing.assert_close(ours, theirs)


def test_derivatives_of_the_gradient_by_boxes():
    """What attribution losses need: d/d parameters and d/d boxes of d score / d boxes, by finite differences."""
    model, given = tiny_pythia(hidden_size=2, fusion_size=4, text_branch_size=3, image_branch_size=3), tiny_inputs(2)
    names = [name for name, _ in model.named_parameters()]
    rest = {name: value for name, value in given.items() if name != "visual_feats"}

    def gradient(features, *values):
        with torch.enable_grad():
            filled = dict(zip(names, values, strict=True))
            output = functional_call(model, filled, (), rest | {"visual_feats": features})
            return torch.autograd.grad(
                output.logits[:, 1].sum() + output.attention[:, 0].sum(), features, create_graph=True
            )[0]

    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    features = given["visual_feats"].requires_grad_()
    assert gradient(features, *parameters).abs().max() > 1e-3
    assert torch.autograd.gradcheck(gradient, (features, *parameters), fast_mode=True)


def test_saved_and_loaded(tmp_path):
    model, given = tiny_pythia(id2label={0: "red", 1: "no"}, num_labels=2, box_encoding_size=None), tiny_inputs()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForVisualQuestionAnswering.from_pretrained(tmp_path)
    assert type(loaded) is PythiaForQuestionAnswering
    assert not loaded.training
    assert loaded.config.id2label == {0: "red", 1: "no"}
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, PythiaConfig)
    assert (config.fusion_size, config.box_encoding_size, config.grid_feat_dim) == (11, None, GRID)
    assert (config.pad_token_id, config.answer_loss) == (WORDS, "sigmoid")
    torch.testing.assert_close(loaded(**given).logits, model(**given).logits, rtol=0, atol=0)


def test_a_checkpoint_for_other_answers_gets_a_new_head(tmp_path):
    model = tiny_pythia()
    model.save_pretrained(tmp_path)
    loaded = PythiaForQuestionAnswering.from_pretrained(tmp_path, num_labels=11, ignore_mismatched_sizes=True)
    assert loaded.text_branch[2].weight.shape == (11, 5)
    assert 0 < loaded.text_branch[2].weight.abs().max() <= 5**-0.5
    assert loaded.image_branch[2].bias.isfinite().all()
    for name in (
        "words.weight",
        "text_attention.lstm.weight_hh_l0",
        "fusion.image.direction",
        "box_attention.score.scale",
    ):
        torch.testing.assert_close(loaded.get_parameter(name), model.get_parameter(name), rtol=0, atol=0)


def test_training_mode_changes_no_value_and_the_lstm_trains_in_eval_mode_too():
    model, given = tiny_pythia(), tiny_inputs()
    assert model.eval().text_attention.lstm.training
    assert not model.training
    torch.testing.assert_close(model(**given).logits, model.train()(**given).logits, rtol=0, atol=0)


def test_word_vectors_of_glove(tmp_path):
    tokenizer = word_tokenizer(["is it red"])
    model = tiny_pythia(vocab_size=len(tokenizer))
    (tmp_path / "glove.txt").write_text("red 1 2 3 4 5\n")
    assert load_glove(model, tmp_path / "glove.txt", tokenizer.get_vocab()) == 1
    assert model.words.weight[2].tolist() == [1, 2, 3, 4, 5]
    assert not model.words.weight[3].any()


def test_tuples():
    logits, attention, *_ = tiny_pythia()(**tiny_inputs(), return_dict=False)
    assert logits.shape == (BATCH, CLASSES)
    assert attention.shape == (BATCH, OBJECTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": None}, "input_ids has shape None; pass"),
        ({"input_ids": torch.full((BATCH, 2), 99)}, r"beyond the 9 rows.*PythiaConfig\(vocab_size=len\(tokenizer\)"),
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
        ({"grid_feats": None}, r"grid_feats are missing; give \(batch, cells, 3\).*PythiaConfig\(grid_feat_dim=None\)"),
        ({"grid_feats": torch.zeros(BATCH, CELLS, 2)}, r"grid_feats has shape \(3, 6, 2\).*config.grid_feat_dim"),
        ({"grid_feats": torch.zeros(2, CELLS, GRID).double()}, "grid_feats are of 2 images, visual_feats of 3"),
        ({"labels": torch.zeros(BATCH, 2)}, r"labels of shape \(3, 2\) do not fit logits of shape \(3, 6\)"),
        ({"box_encoding": torch.zeros(BATCH, 2, 6)}, r"box_encoding of shape \(3, 2, 6\) does not belong"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        tiny_pythia()(**tiny_inputs() | given)


def test_a_grid_for_a_model_without_one_is_refused():
    with pytest.raises(ValueError, match=r"this model has no grid; build it with PythiaConfig\(grid_feat_dim=3\)"):
        tiny_pythia(grid_feat_dim=None)(**tiny_inputs())


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"fusion_size": 0}, r"PythiaConfig\(fusion_size=0\) must be a whole number of at least 1\."),
        ({"grid_feat_dim": 0}, r"PythiaConfig\(grid_feat_dim=0\) must be a whole number of at least 1, or None"),
        ({"hidden_size": None}, r"PythiaConfig\(hidden_size=None\)"),
        ({"pad_token_id": 9}, r"PythiaConfig\(pad_token_id=9\) is not a row of an embedding of 9 rows"),
        ({"answer_loss": "bce"}, r"answer_loss='bce'.*'softmax', 'sigmoid'"),
    ],
)
def test_sizes_that_make_no_model(field, message):
    with pytest.raises(ValueError, match=message):
        tiny_pythia(**field)
