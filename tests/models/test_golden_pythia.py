"""Pythia and its Grad-CAM vector against numbers obtained by running the code of SOrT's authors, in float64."""

import pytest
import torch
from tiny import explain

from hf_guidance.attributions import GradCAM, Gradient, InputXGradient
from hf_guidance.families import family_of
from hf_guidance.models import PythiaConfig, PythiaForQuestionAnswering
from hf_guidance.models.pythia import modeling
from hf_guidance.models.shared.soft_answers import soft_answer_loss
from hf_guidance.objectives import AnswerLoss

FORWARD, CONTRAST, BCE = (
    "crayon_sort/pythia_tiny_forward",
    "crayon_sort/sort_contrastive_gradient",
    "crayon_sort/sort_bce_multilabel",
)
PARTS = {"weight_g": "scale", "weight_v": "direction", "bias": "bias"}
PLAIN = {
    "txt_recurrent_unit_": "text_attention.lstm.",
    "txt_conv1_": "text_attention.hidden.",
    "txt_conv2_": "text_attention.score.",
    "clf_linear_text_": "text_branch.2.",
    "clf_linear_image_": "image_branch.2.",
}
NORMED = {
    "att{0}_image_attention_model_module_combination_layer_module_fa_image_layers_0": "{1}_attention.projection",
    "att{0}_image_attention_model_module_combination_layer_module_fa_txt_layers_0": "{1}_attention.question",
    "att{0}_image_attention_model_module_transform_module_lc": "{1}_attention.score",
    "comb_module_fa_image_layers_0": "fusion.image",
    "comb_module_fa_txt_layers_0": "fusion.question",
    "clf_f_o_text_layers_0": "text_branch.0",
    "clf_f_o_image_layers_0": "image_branch.0",
}


def our_name(name):
    """Their name of a parameter -> ours; None for the layers that their code makes and never calls."""
    if "fa_context" in name:
        return None
    for number, which in (("0", "box"), ("1", "grid")):
        for theirs, ours in NORMED.items():
            stem = theirs.format(number)
            for part, own in PARTS.items():
                if name == f"{stem}_{part}":
                    return f"{ours.format(number, which)}.{own}"
    stem = next(stem for stem in PLAIN if name.startswith(stem))
    return PLAIN[stem] + name.removeprefix(stem)


def golden_pythia(data, case):
    """Their model with their weights, and what it was given. Word vectors are rows of the embedding, one a place."""
    arrays = {name.split("__")[1]: torch.from_numpy(data[name]) for name in data.files if name.startswith(f"c{case}__")}
    words = arrays["word_embeddings"]
    questions, length, word_size = words.shape
    config = PythiaConfig(
        vocab_size=questions * length + 1, word_size=word_size, hidden_size=8, word_attention_size=5, visual_feat_dim=7,
        box_encoding_size=None, grid_feat_dim=7, fusion_size=11, text_branch_size=5, image_branch_size=7, num_labels=9,
    )  # fmt: skip
    model = PythiaForQuestionAnswering(config).double().eval()
    state = {our_name(name[2:]): value for name, value in arrays.items() if name.startswith("p_")}
    state.pop(None)
    state["words.weight"] = torch.cat([words.flatten(0, 1), words.new_zeros(1, word_size)])
    for name, parameter in model.named_parameters():
        state[name] = state[name].reshape(parameter.shape)  # a convolution of one place has one axis more
    model.load_state_dict(state)
    boxes = arrays["feat0"].shape[1]
    given = {
        "input_ids": torch.arange(questions * length).reshape(questions, length),
        "visual_feats": arrays["feat0"],
        "grid_feats": arrays["feat1"],
        "visual_attention_mask": (torch.arange(boxes) < arrays["num_boxes0"][:, None]).long(),
    }
    return model, given, arrays


def theirs(scores, mask):
    """Their attention: masked after a softmax over all boxes, and divided by the sum and 1e-8."""
    masked = scores.softmax(-1) * mask
    return masked / (masked.sum(-1, keepdim=True) + 1e-8)


@pytest.fixture(params=["exact", "with 1e-8"])
def bound(request, monkeypatch):
    """With their 1e-8 all numbers agree to rounding. Without it attention sums to 1, and differs from theirs by some 1e-8."""
    if request.param == "exact":
        return 1e-7
    monkeypatch.setattr(modeling, "masked_softmax", theirs)
    return 1e-13


@pytest.mark.parametrize("case", [0, 1])
def test_forward_pass(golden, agree, case, bound):
    model, given, arrays = golden_pythia(golden(FORWARD), case)
    joint, image = [], []
    model.fusion.register_forward_pre_hook(lambda module, args: image.append(args[0]))
    model.fusion.register_forward_hook(lambda module, args, output: joint.append(output))
    output = model(**given)
    found = {
        "question_vec": output.question_embedding, "att0": output.attention[..., None],
        "att1": output.grid_attention[..., None], "img_vec0": image[0][:, :7], "img_vec1": output.attended_grid,
        "joint": joint[0], "scores": output.logits,
    }  # fmt: skip
    for name, value in found.items():
        agree(f"{FORWARD} ({name}, {bound:.0e})", value, arrays[name], bound)


@pytest.mark.parametrize("case", [0, 1])
def test_the_grad_cam_vector_at_fusion(golden, agree, case, bound):
    """Gradient, InputXGradient and GradCAM without its ReLU, at the layer that the family names."""
    model, given, arrays = golden_pythia(golden(FORWARD), case)
    methods = Gradient("fusion"), InputXGradient("fusion"), GradCAM("fusion", relu=False)
    forward = explain(model, family_of(model), given | {"target": arrays["gt"]}, *methods)
    for method, name in zip(methods, ("grad_joint", "gradcam_vec", "gradcam_vec"), strict=True):
        agree(f"{FORWARD} ({name}, {bound:.0e})", forward.attribution(method), arrays[name], bound)


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("role", ["r", "s", "i"])
def test_scores_of_given_joint_embeddings(golden, agree, case, role):
    """The classifier alone, its vectors G, and the binary cross-entropy, of SOrT's triples."""
    data = golden(CONTRAST)
    arrays = {name.split("__")[1]: torch.from_numpy(data[name]) for name in data.files if name.startswith(f"c{case}__")}
    joint = arrays[f"J_{role}"].clone().requires_grad_()
    sizes = {
        "text_branch_size": len(arrays["p_f_o_text_layers_0_bias"]),
        "image_branch_size": len(arrays["p_f_o_image_layers_0_bias"]),
    }
    config = PythiaConfig(
        vocab_size=3, word_size=2, hidden_size=2, word_attention_size=2, visual_feat_dim=2, box_encoding_size=None,
        grid_feat_dim=None, fusion_size=joint.shape[1], num_labels=len(arrays["p_linear_text_bias"]), **sizes,
    )  # fmt: skip
    model = PythiaForQuestionAnswering(config).double().eval()
    state = {our_name("clf_" + name[2:]): value for name, value in arrays.items() if name.startswith("p_")}
    found = model.load_state_dict(state, strict=False)
    assert not found.unexpected_keys
    assert not any("branch" in name for name in found.missing_keys)
    logits = model.text_branch(joint) + model.image_branch(joint)
    agree(f"{CONTRAST} (scores)", logits, arrays[f"scores_{role}"], 1e-12)
    (gradient,) = torch.autograd.grad(logits.gather(1, arrays[f"gt_{role}"][:, None]).sum(), joint)
    agree(f"{CONTRAST} (G)", gradient * joint, arrays[f"G_{role}"], 1e-12)


@pytest.mark.parametrize("case", range(3))
def test_binary_cross_entropy_of_the_authors(golden, agree, case):
    """The model's loss, and that of AnswerLoss, with its gradient."""
    data = golden(BCE)
    arrays = {name.split("__")[1]: torch.from_numpy(data[name]) for name in data.files if name.startswith(f"c{case}__")}
    scores = arrays["scores"].clone().requires_grad_()
    agree(f"{BCE} (model)", soft_answer_loss(scores, arrays["targets"], "sigmoid"), arrays["loss"], 1e-12)
    loss = AnswerLoss.loss(scores, arrays["targets"], form="sigmoid").mean()
    agree(f"{BCE} (AnswerLoss)", loss, arrays["loss"], 1e-12)
    agree(f"{BCE} (gradient)", torch.autograd.grad(loss, scores)[0], arrays["grad"], 1e-12)
