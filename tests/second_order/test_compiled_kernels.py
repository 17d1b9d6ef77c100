"""The compiled double backwards of GELU and LayerNorm: exact for all sizes, in any thread; without a compiler, a warning."""

from __future__ import annotations

import threading

import pytest
import torch
from forks import Fork, ranks
from kernel_setting import both_operations, error, fused, own, random_inputs, second
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from hf_guidance.second_order import compiling, fast_double_backward, first_derivative, fused_kernels


@pytest.fixture(scope="module", autouse=True)
def engine():
    """Autograd's engine, started before a compiler: in the other order torch 2.15 refuses backwards in forked processes."""
    torch.ones((), requires_grad=True).exp().backward()


@pytest.fixture(scope="module")
def compiled():
    """Both kernels, compiled for float32, and the states of the generator before and after."""
    torch.manual_seed(1)
    inputs = [torch.randn(33, 20), torch.randn(20), torch.randn(20)]
    before = torch.get_rng_state()
    second(fused(both_operations), inputs)
    assert compiling._state.failed is None
    return before, torch.get_rng_state()


def kernels(dtype=torch.float32):
    return [key[0].name for key in compiling._state.kernels if key[3] == dtype]


@pytest.mark.parametrize("sizes", [(33, 20), (7, 20), (128, 192), (300, 41), (2, 2), (20, 20)])
def test_one_kernel_is_exact_at_all_sizes(compiled, sizes):
    inputs = [torch.randn(sizes), 1 + 0.1 * torch.randn(sizes[1]), torch.randn(sizes[1])]
    assert compiling._state.kernels
    found = second(fused(both_operations), inputs)
    expected, exact = second(own(both_operations), inputs), second(own(both_operations), inputs, torch.float64)
    if sizes != (2, 2):  # of two features the gradient at the input is a difference of equals
        assert error(found, expected) <= 1e-6
    assert error(found, exact) <= 2 * error(expected, exact) + 1e-6
    assert sorted(kernels()) == ["double backward of GELU", "double backward of LayerNorm"]  # none again


def test_inputs_far_from_zero_keep_their_digits(compiled):
    inputs = [torch.randn(40, 64) + 30, torch.randn(64) + 30, torch.randn(64)]

    def norm(x, w, b):
        return F.layer_norm(x, (64,), w, b)

    exact = second(own(norm), inputs, torch.float64)
    assert error(second(fused(norm), inputs), exact) <= 1.5 * error(second(own(norm), inputs), exact)


def test_compiling_draws_nothing_from_the_generator(compiled):
    assert torch.equal(*compiled)


def test_backward_in_another_thread_and_in_a_copy_of_the_process(compiled):
    inputs = [torch.randn(9, 20), torch.randn(20), torch.randn(20)]
    expected = second(own(both_operations), inputs)

    def agree():
        assert error(second(fused(both_operations), inputs), expected) <= 1e-6

    fork = Fork(agree)
    leaves = [t.clone().requires_grad_() for t in inputs]
    output = fused(both_operations)(*leaves)
    with first_derivative():
        (dx,) = torch.autograd.grad((output * output.cos()).sum(), leaves[0], create_graph=True)
    loss = (dx * leaves[0].detach().sin()).sum() + output.square().sum()
    found = []
    thread = threading.Thread(target=lambda: found.extend(torch.autograd.grad(loss, leaves)))
    thread.start()
    thread.join()
    assert error(found, expected) <= 1e-6
    assert fork.wait() == 0, fork.err


def test_processes_that_share_gradients_have_those_of_one(compiled):
    model = nn.Sequential(nn.Linear(6, 20), nn.GELU(), nn.LayerNorm(20), nn.Linear(20, 2))
    x = torch.randn(8, 6)

    def backward(module, x):
        leaf = x.clone().requires_grad_()
        with fused_kernels(), fast_double_backward(leaf):
            y = module(leaf)
        with first_derivative():
            (dx,) = torch.autograd.grad(y.square().sum(), leaf, create_graph=True)
        (dx.square().sum() + y.sum()).div(len(x)).backward()
        return [p.grad.clone() for p in model.parameters()]

    expected = backward(model, x)
    model.zero_grad(set_to_none=True)

    def work():
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()
        assert error(backward(DistributedDataParallel(model), x[4 * rank : 4 * rank + 4]), expected) <= 1e-5

    ranks(2, work)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_compiled_and_as_exact(dtype):
    inputs = [torch.randn(70, 24).to(dtype), (1 + 0.1 * torch.randn(24)).to(dtype), torch.randn(24).to(dtype)]
    found, expected = second(fused(both_operations), inputs), second(own(both_operations), inputs)
    exact = second(own(both_operations), inputs, torch.float64)
    assert error(found, exact) <= error(expected, exact) + 4 * torch.finfo(dtype).eps
    assert len(kernels(dtype)) == 2


@pytest.mark.slow
def test_a_copy_of_the_process_compiles_for_itself(fresh):
    inputs = [torch.randn(9, 20), torch.randn(20), torch.randn(20)]
    expected = second(own(both_operations), inputs)

    def agree():
        assert error(second(fused(both_operations), inputs), expected) <= 1e-6
        assert len(compiling._state.kernels) == 2

    fork = Fork(agree)
    assert fork.wait() == 0, fork.err


def test_where_compiling_fails_one_warning_says_why_and_steps_go_on(fresh, monkeypatch, caplog):
    tried = []

    def fails(*_, **__):
        tried.append(1)
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch._inductor, "standalone_compile", fails)
    inputs = [torch.randn(5, 4), torch.randn(4), torch.randn(4)]
    for _ in range(2):
        assert error(second(fused(both_operations), inputs), second(own(both_operations), inputs)) == 0
    assert tried == [1]
    said = [record.message for record in caplog.records if record.name == compiling.__name__]
    assert len(said) == 2
    assert "compiling fused kernels" in said[0]
    assert "RuntimeError: No working C++ compiler found)" in said[1]


def test_a_kernel_that_computes_something_else_is_not_used(fresh, monkeypatch, caplog):
    def wrong(graph, examples, **_):
        return lambda *tensors: [(1 + 1e-5) * t for t in graph(*tensors)]

    monkeypatch.setattr(torch._inductor, "standalone_compile", wrong)
    operation, inputs = random_inputs("gelu")
    inputs = [t.detach().float() for t in inputs]
    assert error(second(fused(operation), inputs), second(own(operation), inputs)) == 0
    assert "differ from the formula's by 1.0e-05" in caplog.text
