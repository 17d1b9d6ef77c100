"""The compiled double backwards of GELU and LayerNorm: exact, for all sizes, in any thread; without a compiler, a warning."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from forks import Fork, ranks
from torch import distributed, nn
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from hf_guidance.second_order import compiling, fast_double_backward, first_derivative, fused_kernels, fusing

OPERATIONS = {
    "gelu": (F.gelu, [(2, 3, 5)]),
    "gelu of a transposed input": (lambda x: F.gelu(x.mT), [(2, 3, 5)]),
    "gelu of every other number": (lambda x: F.gelu(x[..., ::2]), [(2, 3, 6)]),
    "gelu, channels last": (lambda x: F.gelu(x.contiguous(memory_format=torch.channels_last)), [(2, 3, 4, 2)]),
    "gelu of one row repeated": (lambda x: F.gelu(x.expand(4, 3)), [(1, 3)]),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (5,), w, b), [(2, 3, 5), (5,), (5,)]),
    "layer norm, two dimensions": (lambda x, w, b: F.layer_norm(x, (3, 5), w, b), [(2, 3, 5), (3, 5), (3, 5)]),
    "layer norm of a transposed input": (lambda x, w, b: F.layer_norm(x.mT, (3,), w, b), [(2, 3, 5), (3,), (3,)]),
}


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has compiled nothing."""
    state = compiling._State()
    monkeypatch.setattr(compiling, "_state", state)
    return state


@pytest.fixture
def formulas(fresh, monkeypatch):
    """Formulas run as they are, without a compiler; the list fills with the names of those that run."""
    ran = []

    def as_it_is(formula, like):
        return lambda *tensors: (ran.append(formula.name), formula.compute(*tensors))[1]

    monkeypatch.setattr(compiling, "_compile", as_it_is)
    return ran


def fused(operation):
    """An operation with a fused double backward."""

    def run(*inputs):
        with fused_kernels(), fast_double_backward():
            return operation(*inputs)

    return run


def own(operation):
    """One with a double backward of PyTorch's own kernels."""

    def run(*inputs):
        with fast_double_backward():
            return operation(*inputs)

    return run


def second(run, inputs, dtype=None):
    """Gradients of a function of an output and of its gradient at the first input."""
    inputs = [t.detach().to(dtype or t.dtype).requires_grad_() for t in inputs]
    output = run(*inputs)
    with first_derivative():
        (dx,) = torch.autograd.grad((output * output.cos()).sum(), inputs[0], create_graph=True)
    return torch.autograd.grad((dx * inputs[0].detach().sin()).sum() + output.square().sum(), inputs)


def error(found, expected):
    return max(
        ((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in zip(found, expected, strict=True)
    )


def random_inputs(name):
    operation, shapes = OPERATIONS[name]
    return operation, [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_formulas_agree_with_finite_differences(name, formulas):
    operation, inputs = random_inputs(name)

    def derivative(dy, *inputs):
        output = fused(operation)(*inputs)
        with first_derivative():
            return torch.autograd.grad(output, inputs[0], dy, create_graph=True)[0]

    assert gradcheck(derivative, [torch.randn_like(operation(*inputs)).requires_grad_(), *inputs])
    assert set(formulas) == {"double backward of " + ("GELU" if "gelu" in name else "LayerNorm")}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_formulas_are_those_of_the_own_kernels(name, formulas):
    operation, inputs = random_inputs(name)
    assert error(second(fused(operation), inputs), second(own(operation), inputs)) <= 1e-14
    assert formulas


def test_gelu_keeps_the_memory_layout_of_its_input():
    x = torch.randn(2, 3, 4, 2).contiguous(memory_format=torch.channels_last)
    for found in fusing.gelu_double_backward(fusing.flat_gelu, x, x, x):
        assert found.stride() == x.stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gelu_is_straight_far_from_zero_and_far_beyond(dtype, formulas):
    x = torch.tensor(
        [-6e4, -300.0, 300.0, 6e4, 1e30 if dtype != torch.float16 else 6e4], dtype=dtype, requires_grad=True
    )
    y = fused(F.gelu)(x)
    with first_derivative():
        (slope,) = torch.autograd.grad(y, x, torch.ones_like(y, requires_grad=True), create_graph=True)
    assert torch.equal(torch.autograd.grad(slope.sum(), x)[0], torch.zeros_like(x))
    assert formulas


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 1), (1, 1)])
def test_empty_batches_and_sizes_of_one_run_on_the_own_kernels(shape, formulas):
    inputs = [torch.randn(shape, dtype=torch.float64), *torch.randn(2, shape[1], dtype=torch.float64)]

    def both(x, w, b):
        return F.layer_norm(F.gelu(x), shape[1:], w, b)

    for a, b in zip(second(fused(both), inputs), second(own(both), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    assert "double backward of LayerNorm" not in formulas


def test_frozen_weights_get_no_gradient(formulas):
    inputs = [torch.randn(4, 5, requires_grad=True), torch.randn(5), torch.randn(5)]
    output = fused(lambda x, w, b: F.layer_norm(x, (5,), w, b))(*inputs)
    with first_derivative():
        (dx,) = torch.autograd.grad(output.square().sum(), inputs[0], create_graph=True)
    dx.square().sum().backward()
    assert inputs[0].grad is not None
    assert not formulas


def test_off_by_default_and_outside(formulas):
    operation, inputs = random_inputs("gelu")
    with fused_kernels():
        pass
    second(own(operation), inputs)
    assert not formulas


def test_checkpointed_regions_and_compiled_steps_fall_through(formulas, monkeypatch):
    operation, inputs = random_inputs("layer norm")
    found = second(fused(lambda *given: checkpoint(operation, *given, use_reentrant=False)), inputs)
    assert error(found, second(own(operation), inputs)) <= 1e-14
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    second(fused(operation), inputs)
    assert not formulas


def test_autocast_is_closer_to_float64_than_the_own_kernels(formulas):
    x = 2 * torch.randn(64, 50)
    exact = second(own(F.gelu), [x.bfloat16()], torch.float64)

    def half(run):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return second(run, [x.bfloat16()])

    assert error(half(fused(F.gelu)), exact) <= 1.01 * error(half(own(F.gelu)), exact)
    assert formulas == ["double backward of GELU"]


def test_models_are_copied_and_pickled_as_without(formulas):
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4))
    second(fused(model), [torch.randn(3, 4)])
    assert formulas
    model.zero_grad()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other[0].weight, model[0].weight)


def both_operations(x, w, b):
    return F.layer_norm(F.gelu(x), x.shape[-1:], w, b)


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
