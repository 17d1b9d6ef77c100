"""What a caller finds of the model after explain: all as it was; and under which modes it may be called."""

import io
import sys
import threading
from contextlib import redirect_stderr

import numpy as np
import pytest
import torch
import torch.distributed as dist
from huggingface_hub.utils import enable_progress_bars
from nets import Linear
from tiny import BUILDERS, fresh_model, make_batch
from torch import nn

from hf_guidance import explain
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.common import progress

PIXELS = make_batch(3)["pixel_values"]
METHODS = [GradCAM(), InputXGradient(), IntegratedGradients(steps=2)]


def state(model):
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    gradients = [parameter.grad for parameter in model.parameters()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    return modes, flags, gradients, hooks


@pytest.fixture
def model():
    made = fresh_model("resnet").train()
    made.resnet.embedder.eval()
    next(made.parameters()).requires_grad_(False)
    return made


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_modes_flags_gradients_and_statistics_stay(model, method):
    before, weights = state(model), {name: value.clone() for name, value in model.state_dict().items()}
    found = explain(model, PIXELS, attribution=method)
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    expected = explain(fresh_model("resnet"), PIXELS, attribution=method)  # in eval mode
    assert np.abs(found.maps - expected.maps).max() < 1e-12
    with pytest.raises(ValueError, match="neither one of"):
        explain(model, PIXELS, attribution=InputXGradient("nowhere"))
    assert state(model) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_under_every_mode(mode, method):
    expected = explain(fresh_model("resnet"), PIXELS, attribution=method).maps
    with mode():
        pixels = PIXELS * 1.0
        found = explain(fresh_model("resnet"), pixels, attribution=method) if mode is not torch.inference_mode else None
    if found is None:
        model = fresh_model("resnet")
        with mode():
            assert (PIXELS * 1.0).is_inference()
            found = explain(model, PIXELS * 1.0, attribution=method)
    assert np.abs(found.maps - expected).max() < 1e-12
    assert torch.is_grad_enabled()


def test_weights_made_under_inference_mode_are_refused():
    with torch.inference_mode():
        model = Linear(torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"weights were made under torch\.inference_mode\(\)"):
        explain(model, torch.randn(1, 3, 4, 4))


def test_a_loss_in_the_same_autocast_block_still_trains():
    model = fresh_model("resnet").float()
    pixels = PIXELS.float()
    with torch.autocast("cpu", torch.bfloat16):
        explain(model, pixels)
        model(pixel_values=pixels).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet", "vit", "bcos_resnet"])
def test_a_model_in_bfloat16(name):
    exact = explain(fresh_model(name).float(), PIXELS.float(), attribution="InputXGradient", target=1)
    found = explain(fresh_model(name).bfloat16(), PIXELS.float(), attribution="InputXGradient", target=1)
    assert found.maps.dtype == np.float32
    together = np.corrcoef(found.maps.ravel(), exact.maps.ravel())[0, 1]
    assert together > 0.95


@pytest.mark.parametrize("name", ["vit", "timm_vit"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_fused_attention_needs_no_switch(name, method):
    torch.manual_seed(0)
    fused, eager = BUILDERS[name]().double().eval(), fresh_model(name)
    eager.load_state_dict(fused.state_dict())
    if name == "vit":
        assert fused.config._attn_implementation == "sdpa"
    expected = explain(eager, PIXELS, attribution=method)
    found = explain(fused, PIXELS, attribution=method)
    assert np.abs(found.maps - expected.maps).max() < 1e-6 * np.abs(expected.maps).max()  # eager rounds its softmax
    if name == "vit":
        assert fused.config._attn_implementation == "sdpa"


def test_gradient_checkpointing_is_off_meanwhile():
    model = BUILDERS["timm_vit"]().double().eval()
    expected = explain(model, PIXELS, attribution=InputXGradient()).maps
    model.timm_model.set_grad_checkpointing(True)
    assert np.abs(explain(model, PIXELS, attribution=InputXGradient()).maps - expected).max() < 1e-12
    assert model.timm_model.grad_checkpointing is True


def test_wrapped_models(tmp_path):
    model = fresh_model("resnet")
    expected = explain(model, PIXELS).maps
    assert np.array_equal(explain(nn.DataParallel(model), PIXELS).maps, expected)
    assert np.array_equal(explain(torch.compile(model), PIXELS).maps, expected)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert np.array_equal(explain(nn.parallel.DistributedDataParallel(model), PIXELS).maps, expected)
    finally:
        dist.destroy_process_group()
    model.compile()
    implementation = model._compiled_call_impl
    assert np.array_equal(explain(model, PIXELS).maps, expected)
    assert model._compiled_call_impl is implementation


def test_sharded_models_are_refused():
    class DeepSpeedEngine(nn.Linear):
        pass

    with pytest.raises(ValueError, match="DeepSpeedEngine, whose weights are spread over processes"):
        explain(DeepSpeedEngine(2, 2), PIXELS)


def test_threads_do_not_mix_their_images():
    model = fresh_model("resnet").train()
    before = state(model)
    expected = [explain(model, PIXELS[i : i + 1], attribution=InputXGradient("mid2")).maps for i in range(3)]
    found = {}

    def work(i):
        found[i] = [explain(model, PIXELS[i : i + 1], attribution=InputXGradient("mid2")).maps for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.abs(maps - expected[i]).max() < 1e-12 for i in range(3) for maps in found[i])
    assert state(model) == before


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_only_what_takes_long(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "datasets", None
    )  # another test may have switched its bars off, or all of the hub's
    enable_progress_bars()
    model, terminal = fresh_model("resnet"), Terminal()
    with redirect_stderr(terminal):
        explain(model, PIXELS)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "_DELAY", 0)
    with redirect_stderr(terminal):
        explain(model, PIXELS, batch_size=1)
    assert "explaining" in terminal.getvalue()
