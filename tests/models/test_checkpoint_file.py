"""Whole training checkpoints: what scripts leave beside the weights, and what is not read."""

import argparse
import os
import pathlib

import numpy as np
import pytest
import torch
from tiny_bcos import tiny_net

from hf_guidance.models import (
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
    load_official_bcos,
    load_official_xdnn,
)
from hf_guidance.models.bcos_resnet.official import official_names
from hf_guidance.models.shared.checkpoint_file import read_checkpoint
from hf_guidance.models.xdnn_resnet.official import _official

LEFT_BY_SCRIPTS = {
    "epoch": 99,
    "best_acc1": np.float64(0.75),
    "others": [np.float32(0.5), np.int64(3), np.bool_(True)],
    "args": argparse.Namespace(lr=np.float64(0.1), layers=["final"], more=argparse.Namespace(seed=0)),
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
}


class Calls:
    """An object whose pickle runs a command."""

    def __reduce__(self):
        return os.system, ("echo run",)


def bcos(seed):
    return tiny_net(seed)


def bcos_state(model):
    own = model.state_dict()
    return {theirs: own[ours] for theirs, ours in official_names(model.config).items()}


def xdnn(seed):
    torch.manual_seed(seed)
    sizes = {"hidden_sizes": [4, 4, 8, 8], "embedding_size": 4, "depths": [1, 1, 1, 1]}
    return XDNNResNetForImageClassification(XDNNResNetConfig(num_labels=3, **sizes))


def xdnn_state(model):
    return {name: parameter.detach() for name, parameter in _official(model).items()}


KINDS = {"bcos": (bcos, bcos_state, load_official_bcos), "xdnn": (xdnn, xdnn_state, load_official_xdnn)}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_numbers_and_options_are_read(kind, zipped, tmp_path):
    make, state, load = KINDS[kind]
    first, second = make(0), make(1)
    checkpoint = LEFT_BY_SCRIPTS | {"state_dict": state(first)}
    torch.save(checkpoint, tmp_path / "best.pth.tar", _use_new_zipfile_serialization=zipped)
    load(second, tmp_path / "best.pth.tar")
    for ours, theirs in zip(second.parameters(), first.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_values_come_back(tmp_path):
    torch.save(LEFT_BY_SCRIPTS, tmp_path / "file.pth")
    found = read_checkpoint(tmp_path / "file.pth")
    for name in ("epoch", "best_acc1", "others", "args"):
        assert found[name] == LEFT_BY_SCRIPTS[name]
    assert [type(number) for number in found["others"]] == [np.float32, np.int64, np.bool_]
    assert read_checkpoint(found) is found


def test_numpy_1_wrote_another_module(tmp_path):
    torch.save({"score": np.float64(0.75)}, tmp_path / "file.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "file.pth").read_bytes()
    assert b"numpy._core.multiarray" in content
    (tmp_path / "file.pth").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_checkpoint(tmp_path / "file.pth") == {"score": 0.75}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.zeros(2), r"numpy\._core\.multiarray\._reconstruct"),
        (pathlib.PurePosixPath("x"), r"pathlib\S*PurePosixPath"),
        (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
        (Calls(), r"(posix|nt)\.system"),
    ],
    ids=["array", "path", "module", "call"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_refused_with_the_way_out(kind, value, named, tmp_path, capfd):
    make, state, load = KINDS[kind]
    model = make(0)
    torch.save({"state_dict": state(model), "value": value}, tmp_path / "whole.pth")
    with pytest.raises(
        ValueError, match=rf"whole\.pth cannot be read as plain data \(.*{named}.*take its state dict out"
    ):
        load(model, tmp_path / "whole.pth")
    assert capfd.readouterr().out == ""


def test_what_torch_refuses_without_a_name_is_refused_too(tmp_path):
    (tmp_path / "file.pth").write_bytes(b"\x80\x02]q\x00K\x01\x85\x81.")  # a new instance of a list
    with pytest.raises(ValueError, match=r"file\.pth cannot be read as plain data \(.*If you trust it"):
        read_checkpoint(tmp_path / "file.pth")
    torch.save(np.str_("a"), tmp_path / "file.pth")
    with pytest.raises(ValueError, match="StrDType"):
        read_checkpoint(tmp_path / "file.pth")


def test_what_the_caller_allowed_stays_allowed(tmp_path):
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "file.pth")
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(tmp_path / "file.pth")
    assert set(torch.serialization.get_safe_globals()) == before
    with torch.serialization.safe_globals([argparse.Namespace]):
        read_checkpoint(tmp_path / "file.pth")
        assert argparse.Namespace in torch.serialization.get_safe_globals()


def test_numpys_own_types_cannot_be_changed(tmp_path):
    class Dtype:
        def __reduce__(self):
            return np.dtype, ("f8", False, False), (3, ">", None, None, None, -1, -1, 0)

    torch.save({"dtype": Dtype()}, tmp_path / "file.pth")
    assert read_checkpoint(tmp_path / "file.pth")["dtype"] == np.dtype(">f8")
    assert np.dtype("f8").byteorder == "="


@pytest.mark.parametrize("kept", [0, 0.5, 0.98])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_was_cut_off(tmp_path, kept, zipped):
    file = tmp_path / "file.pth"
    torch.save({"weight": torch.randn(500)}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"file.pth is not a complete torch.save file \(.+\); it may be cut off"):
        read_checkpoint(file)


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.6])
def test_a_large_file_that_was_cut_off(tmp_path, kept):
    file = tmp_path / "file.pth"
    torch.save({"weight": torch.randn(50_000)}, file)
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(ValueError, match=r"file.pth is not a complete torch.save file \(.+\); it may be cut off"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "content",
    [b"hello world", b"a,b\n1,2\n", b"<!DOCTYPE html>", b'{"weight": 1}', b"version https://git-lfs", bytes(64)],
)
def test_a_file_of_another_kind(tmp_path, content):
    """Which error torch raises hangs on the first letters; none may advise to read a text without the check."""
    file = tmp_path / "file.pth"
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"file.pth is not a complete torch.save file .* or be something else, such as a text"
    ) as told:
        read_checkpoint(file)
    assert "weights_only=False" not in str(told.value)


def test_a_folder_and_a_missing_file(tmp_path):
    (tmp_path / "weights").mkdir()
    with pytest.raises(ValueError, match="weights is a folder; give the file in it"):
        read_checkpoint(tmp_path / "weights")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize(("kind", "other"), [("bcos", "xdnn"), ("xdnn", "bcos")])
def test_a_model_of_another_kind_is_refused(kind, other):
    _, state, load = KINDS[kind]
    model = KINDS[kind][0](0)
    given = KINDS[other][0](0)
    message = rf"load_official_{kind} fills a {type(model).__name__}; a {type(given).__name__} is given"
    with pytest.raises(ValueError, match=message):
        load(given, state(model))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_not_finite_are_refused(kind, value):
    make, state_of, load = KINDS[kind]
    model, state = make(0), {name: tensor.clone() for name, tensor in state_of(make(1)).items()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = next(name for name in state if name.startswith("layer2"))
    state[name].view(-1)[0] = value
    with pytest.raises(ValueError, match=rf"^{name} holds NaN or infinite values"):
        load(model, state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_is_left_out_may_be_broken(kind):
    make, state_of, load = KINDS[kind]
    state = {name: tensor.clone() for name, tensor in state_of(make(1)).items()}
    state[next(name for name in state if name.startswith("fc"))].fill_(float("nan"))
    load(make(0), state, head=False)
