"""Models whose attention is fused are switched to one that is fused and has second derivatives, or refused by name."""

from __future__ import annotations

import copy
import importlib
import json
from contextlib import nullcontext

import pytest
import torch
from timm.layers import Attention as TimmAttention
from tiny import BUILDERS, make_batch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torchvision.models import VisionTransformer
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForImageClassification,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Data2VecVisionConfig,
    Data2VecVisionForImageClassification,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.masking_utils import sdpa_mask
from transformers.utils import logging

from hf_guidance.second_order import fast_double_backward, first_derivative
from hf_guidance.second_order.attention import fused
from hf_guidance.training import attention
from hf_guidance.training.attention import TWICE_DIFFERENTIABLE, use_differentiable_attention
from hf_guidance.views.layers import ATTENTION

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_CALM = {"num_labels": 3, "drop_path_rate": 0.0}
_VISION = _SIZES | {"image_size": 32, "patch_size": 8}


class Wrapped(nn.Module):
    """A model of transformers inside one that is none."""

    def __init__(self):
        super().__init__()
        self.inner = CLIPVisionModelWithProjection(CLIPVisionConfig(**_VISION, projection_dim=4))

    def forward(self, pixel_values):
        return self.inner(pixel_values=pixel_values).image_embeds


class TorchVision(VisionTransformer):
    """torchvision's, whose attention is torch.nn.MultiheadAttention."""

    def __init__(self):
        super().__init__(32, 8, 2, 2, 16, 32, num_classes=3)
        nn.init.normal_(self.heads.head.weight)

    def forward(self, pixel_values):
        return super().forward(pixel_values)


def _captioner():
    dropped = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    decoder = GPT2Config(vocab_size=11, n_embd=16, n_layer=1, n_head=2, add_cross_attention=True, **dropped)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**_VISION), decoder)
    return VisionEncoderDecoderModel(config)


MODELS = {
    "vit": BUILDERS["vit"],
    "deit": BUILDERS["deit"],
    "swin": BUILDERS["swin"],
    "timm_vit": BUILDERS["timm_vit"],
    "timm_swin": BUILDERS["timm_swin"],
    "data2vec": lambda: Data2VecVisionForImageClassification(Data2VecVisionConfig(**_VISION, **_CALM)),
    "data2vec, biased": lambda: Data2VecVisionForImageClassification(
        Data2VecVisionConfig(**_VISION, **_CALM, use_relative_position_bias=True)
    ),
    "CLIP in a wrapper": Wrapped,
    "torchvision": TorchVision,
    "captioner": _captioner,
    "grouped": lambda: LlamaForCausalLM(
        LlamaConfig(**_SIZES | {"num_attention_heads": 4}, num_key_value_heads=2, vocab_size=11)
    ),
}
ATTENDED = ("vit", "timm_vit", "data2vec", "CLIP in a wrapper", "torchvision", "captioner", "grouped")


def _made(name):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


def _inputs(name):
    generator = torch.Generator().manual_seed(2)
    size = (32, 64) if name in BUILDERS else (32, 32)
    pixels = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    words = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    if name == "captioner":
        return {
            "pixel_values": pixels,
            "decoder_input_ids": words,
            "decoder_attention_mask": (words > 0).long(),
        }, pixels
    if name == "grouped":
        embeds = torch.randn(2, 4, 16, generator=generator, dtype=torch.float64, requires_grad=True)
        return {"inputs_embeds": embeds, "attention_mask": (words > 0).long()}, embeds
    return {"pixel_values": pixels}, pixels


def _gradients(model, inputs, leaf, mode=nullcontext):
    with mode():
        outputs = model(**inputs)
    logits = outputs if isinstance(outputs, torch.Tensor) else outputs["logits"]
    with first_derivative():
        (first,) = torch.autograd.grad((logits.sin()).sum(), leaf, create_graph=True)
    loss = (first * leaf).square().sum() + logits.square().sum()
    return (
        logits,
        first,
        *torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad], allow_unused=True),
    )


def _equal(found, expected, allowed=1e-9):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).abs().max() <= allowed * (1 + other.abs().max())


def _eager(name):
    model = _made(name)
    for module in model.modules():
        if hasattr(module, "set_attn_implementation") and not hasattr(module, "timm_model"):
            module.set_attn_implementation("eager")
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


@pytest.fixture
def said():
    heard = []
    logger, logging_ = logging.get_logger(attention.__name__), heard.append
    logger.warning_once.cache_clear()
    handler = type("Listen", (logging.logging.Handler,), {"emit": lambda self, record: logging_(record.getMessage())})()
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


@pytest.mark.parametrize("mode", [nullcontext, fast_double_backward])
@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_are_those_of_eager_attention(name, mode):
    inputs, leaf = _inputs(name)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = _gradients(_made(name), inputs, leaf)
        eager = _gradients(_eager(name), inputs, leaf)
    model = _made(name)
    use_differentiable_attention(model)
    found = _gradients(model, inputs, leaf, mode)
    _equal(found, expected)
    _equal(found, eager, 1e-5)  # eager models round their softmax to float32


@pytest.mark.parametrize("mode", [nullcontext, fast_double_backward])
@pytest.mark.parametrize("name", ["vit", "timm_vit", "data2vec", "captioner", "CLIP in a wrapper"])
def test_gradient_checkpointing(name, mode):
    inputs, leaf = _inputs(name)
    model = _made(name)
    use_differentiable_attention(model)
    expected = _gradients(model, inputs, leaf, mode)
    switched = []
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing_enable") and not hasattr(module, "timm_model"):
            module.gradient_checkpointing_enable({"use_reentrant": False})
            switched.append(module)
        if hasattr(module, "set_grad_checkpointing"):
            module.set_grad_checkpointing(True)
            switched.append(module)
    assert switched
    model.train()  # checkpointing is for training; nothing here is random
    _equal(_gradients(model, inputs, leaf, mode), expected)


@pytest.mark.parametrize("name", ATTENDED)
def test_no_matrix_of_scores_is_made(name, monkeypatch):
    inputs, leaf = _inputs(name)
    model = _made(name)
    use_differentiable_attention(model)
    monkeypatch.setattr("hf_guidance.second_order.attention.fused._say", lambda reason: pytest.fail(reason))
    monkeypatch.setattr(torch.Tensor, "softmax", lambda *args, **kwargs: pytest.fail("softmax"))
    monkeypatch.setattr(nn.functional, "softmax", lambda *args, **kwargs: pytest.fail("softmax"))
    assert _gradients(model, inputs, leaf)[0].isfinite().all()


def test_configs_of_parts_are_switched_and_those_that_are_eager_stay():
    sizes = _SIZES | {"projection_dim": 4}
    text, vision = sizes | {"vocab_size": 11, "max_position_embeddings": 5}, sizes | {"image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision))
    model.set_attn_implementation({"text_config": "eager"})
    use_differentiable_attention(nn.ModuleDict({"clip": model}))
    assert model.config.vision_config._attn_implementation == TWICE_DIFFERENTIABLE
    assert model.config.text_config._attn_implementation == "eager"
    model = _captioner()
    use_differentiable_attention(model)
    assert (
        model.encoder.config._attn_implementation == model.decoder.config._attn_implementation == TWICE_DIFFERENTIABLE
    )


@pytest.mark.parametrize("name", ["vit", "captioner"])
def test_the_name_is_not_saved(name, tmp_path):
    model = _made(name)
    use_differentiable_attention(model)
    model.save_pretrained(tmp_path)
    assert TWICE_DIFFERENTIABLE not in (tmp_path / "config.json").read_text()
    assert TWICE_DIFFERENTIABLE not in json.dumps(model.config.to_dict(), default=str)
    again = type(model).from_pretrained(tmp_path)
    assert again.config._attn_implementation == "sdpa"
    if name == "vit":
        asked = AutoModelForImageClassification.from_pretrained(tmp_path, attn_implementation=TWICE_DIFFERENTIABLE)
        assert asked.config._attn_implementation == TWICE_DIFFERENTIABLE
    assert copy.deepcopy(model).config._attn_implementation == TWICE_DIFFERENTIABLE


def test_a_model_that_returns_its_attention_is_eager():
    model = _made("vit")
    use_differentiable_attention(model)
    use_differentiable_attention(model, ("logits", ATTENTION))
    assert model.config._attn_implementation == "eager"
    assert model(**_inputs("vit")[0], output_attentions=True).attentions[0].shape[-1] == 33


def test_a_layer_inside_of_timms_attention_is_one_of_the_eager_implementation():
    model = BUILDERS["timm_vit"]()
    use_differentiable_attention(model, ("timm_model.blocks.1.attn.attn_drop", "timm_model.blocks.2.attn"))
    fused = [module.fused_attn for module in model.modules() if isinstance(module, TimmAttention)]
    assert fused == [True, False, True, True]


def test_models_that_do_something_of_their_own_for_sdpa_are_eager(said, monkeypatch):
    written = importlib.import_module("transformers.models.glm5_next.modeling_glm5_next")
    assert not attention._takes_ours(written.Glm5NextTextDecoderLayer.__new__(written.Glm5NextTextDecoderLayer))
    monkeypatch.setattr(attention, "_takes_ours", lambda reader: False)
    for _ in range(2):
        model = _made("vit")
        use_differentiable_attention(model)
        assert model.config._attn_implementation == "eager"
    assert [("'sdpa'" in text, "eager" in text) for text in said] == [(True, True)]


def _of_operations(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    weights = (query @ key.mT * scaling).softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), None


class Fixed(Function):
    """Attention as a kernel of one's own gives it: a backward that autograd does not see through."""

    @staticmethod
    def forward(ctx, query, key, value):
        ctx.save_for_backward(query, key, value)
        return (query @ key.mT).softmax(-1) @ value

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in ctx.saved_tensors]
            output = (inputs[0] @ inputs[1].mT).softmax(-1) @ inputs[2]
        return tuple(t.detach() for t in torch.autograd.grad(output, inputs, gradient))


class Once(Fixed):
    """The same, marked as such."""

    backward = staticmethod(once_differentiable(Fixed.backward))


REGISTERED = {
    "operations": _of_operations,
    "silent": lambda module, q, k, v, mask, **kwargs: (Fixed.apply(q, k, v).transpose(1, 2).contiguous(), None),
    "once": lambda module, q, k, v, mask, **kwargs: (Once.apply(q, k, v).transpose(1, 2).contiguous(), None),
    "other signature": lambda module, q, k, v: (q, None),
}


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(AttentionInterface, "_global_mapping", dict(AttentionInterface._global_mapping))
    monkeypatch.setattr(AttentionMaskInterface, "_global_mapping", dict(AttentionMaskInterface._global_mapping))
    for name, function in REGISTERED.items():
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, sdpa_mask)


def test_a_registered_function_of_twice_differentiable_operations_stays(registered, said):
    model, expected = _made("vit"), _eager("vit")
    model.set_attn_implementation("operations")
    use_differentiable_attention(model)
    assert model.config._attn_implementation == "operations"
    inputs, leaf = _inputs("vit")
    _equal(_gradients(model, inputs, leaf), _gradients(expected, inputs, leaf), 1e-5)
    assert not said


@pytest.mark.parametrize("name", ["silent", "once", "other signature"])
def test_a_registered_function_without_second_derivative_is_refused(name, registered):
    model = _made("vit")
    model.set_attn_implementation(name)
    with pytest.raises(ValueError, match=rf"attn_implementation='{name}'.*'sdpa' or 'eager'"):
        use_differentiable_attention(model)


def test_a_function_registered_as_sdpa_is_judged_as_any_other(registered):
    AttentionInterface.register("sdpa", REGISTERED["silent"])
    with pytest.raises(ValueError, match="attn_implementation='sdpa', a function that was registered"):
        use_differentiable_attention(_made("vit"))


@pytest.mark.parametrize("name", ["resnet", "convnext", "timm_resnet"])
def test_models_without_attention_are_left_alone(name, said):
    model = BUILDERS[name]()
    use_differentiable_attention(model)
    assert not said
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_switching_says_nothing_and_changes_no_logit(said):
    model = BUILDERS["vit"]().double().eval()
    batch = make_batch()["pixel_values"]
    before = model(pixel_values=batch)["logits"]
    use_differentiable_attention(model)
    assert model.config._attn_implementation == TWICE_DIFFERENTIABLE
    assert torch.allclose(model(pixel_values=batch)["logits"], before, atol=1e-10)
    assert not said


@pytest.mark.parametrize("reason", ["learned bias", "dropout"])
def test_learned_biases_and_dropout_are_said_once(reason, caplog):
    fused._say.cache_clear()
    config = ViTConfig(**_VISION, num_labels=3, attention_probs_dropout_prob=0.1)
    dropping = ViTForImageClassification(config).double().train()
    model = dropping if reason == "dropout" else _made("data2vec, biased")
    use_differentiable_attention(model)
    inputs, leaf = _inputs("data2vec")
    for _ in range(2):
        assert any(g is not None and g.any() for g in _gradients(model, inputs, leaf)[2:])
    said = [record.getMessage() for record in caplog.records if record.name == fused.__name__]
    assert [reason in text for text in said] == [True]
