"""The pipeline "guided-image-classification": classes as transformers gives them, and where each was seen."""

import base64
import functools
import http.server
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    ImageClassificationPipeline,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
    pipeline,
)

import hf_guidance.apps.pipelines  # noqa: F401 registers it
from hf_guidance import explain
from hf_guidance.attributions import InputXGradient
from hf_guidance.models.channel_mask import ChannelMask, attach_channel_mask, has_channel_mask

TASK = "guided-image-classification"
NAMES = ["cat", "dog", "bird"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    model = ResNetForImageClassification(ResNetConfig(id2label=dict(enumerate(NAMES)), **sizes))
    saved = tmp_path_factory.mktemp("pipeline") / "model"
    model.save_pretrained(saved)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(saved)
    return saved


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline(TASK, model=str(folder), device="cpu")


def test_a_pruned_model_has_its_mask(folder, tmp_path, pictures):
    model = ResNetForImageClassification.from_pretrained(folder)
    attach_channel_mask(model, ChannelMask("resnet.encoder.stages.3", 20, (0, 1)))
    model.save_pretrained(tmp_path)
    ViTImageProcessor.from_pretrained(folder).save_pretrained(tmp_path)
    pruned = pipeline(TASK, model=str(tmp_path), device="cpu")
    assert has_channel_mask(pruned.model)
    assert len(pruned(pictures[0], top_k=1)) == 1


@pytest.fixture(scope="module")
def pictures():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)) for i in range(3)]


def test_classes_are_those_of_image_classification(classify, pictures):
    found = classify(pictures[0])
    plain = ImageClassificationPipeline(model=classify.model, image_processor=classify.image_processor, device="cpu")
    theirs = plain(pictures[0])
    assert [one["label"] for one in found] == [one["label"] for one in theirs]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in theirs], abs=1e-6)
    assert all(set(one) == {"score", "label", "map"} for one in found)
    assert {(one["map"].mode, one["map"].size) for one in found} == {("L", (50, 40))}


def test_maps_are_those_of_explain(classify, pictures):
    found = classify(pictures[1], top_k=2, attribution=InputXGradient(), raw_map=True)
    expected = explain(classify.model, pictures[1], classify.image_processor, attribution=InputXGradient(), top_k=2)
    assert [one["label"] for one in found] == expected.labels
    for one, explanation in zip(found, expected, strict=True):
        assert np.allclose(one["raw_map"], explanation.map, atol=1e-7)
        positive = np.maximum(explanation.map, 0)
        assert np.abs(np.asarray(one["map"]) / 255 - positive / positive.max()).max() < 0.51 / 255 + 1e-6


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_lists_and_batches(classify, pictures, batch_size, tmp_path):
    pictures[2].save(tmp_path / "c.png")
    given = [pictures[0], pictures[1], str(tmp_path / "c.png")]
    found = classify(given, top_k=1, batch_size=batch_size, raw_map=True)
    for picture, (one,) in zip(pictures, found, strict=True):
        (alone,) = classify(picture, top_k=1, raw_map=True)
        assert one["label"] == alone["label"]
        assert one["raw_map"].shape == (picture.height, picture.width)
        assert np.allclose(one["raw_map"], alone["raw_map"], atol=1e-5 * np.abs(alone["raw_map"]).max() + 1e-9)


def test_arrays_and_tensors(classify, pictures):
    array = np.asarray(pictures[0])
    (expected,) = classify(pictures[0], top_k=1, raw_map=True)
    for kind in (array, torch.tensor(array).movedim(-1, 0)):
        (found,) = classify([kind], top_k=1, raw_map=True)[0]
        assert np.array_equal(found["raw_map"], expected["raw_map"])


def test_options_of_the_pipeline_hold_for_every_call(folder, pictures):
    classify = pipeline(TASK, model=str(folder), device="cpu", top_k=1, attribution="InputXGradient")
    assert len(classify(pictures[0])) == 1
    with pytest.raises(ValueError, match="attribution='Nothing' is unknown"):
        classify(pictures[0], attribution="Nothing")


def test_a_saved_pipeline_is_loaded_again(classify, pictures, tmp_path):
    classify.save_pretrained(tmp_path / "saved")
    again = pipeline(TASK, model=str(tmp_path / "saved"), device="cpu")
    assert again(pictures[0], top_k=1)[0]["label"] == classify(pictures[0], top_k=1)[0]["label"]


REGISTERED = """
{first}
from transformers.pipelines import PIPELINE_REGISTRY
print("guided-image-classification" in PIPELINE_REGISTRY.get_supported_tasks())
"""


@pytest.mark.parametrize("first", ["import hf_guidance.apps.pipelines", "from hf_guidance import Guidance"])
def test_an_import_registers_the_task(first):
    done = subprocess.run(
        [sys.executable, "-c", REGISTERED.format(first=first)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["True"]
    assert "already registered" not in done.stderr


@pytest.fixture
def sixteen_bit(tmp_path):
    levels = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "sixteen.png")
    return tmp_path / "sixteen.png"


def test_a_picture_is_read_alike_from_a_path_an_address_and_base64(classify, sixteen_bit):
    expected = classify(str(sixteen_bit))
    text = base64.b64encode(sixteen_bit.read_bytes()).decode()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(sixteen_bit.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for given in (text, f"data:image/png;base64,{text}", f"{address}/sixteen.png"):
            found = classify(given)
            assert [(one["label"], one["score"]) for one in found] == [(one["label"], one["score"]) for one in expected]
        with pytest.raises(ValueError, match=r"/absent.png cannot be read: HTTP Error 404"):
            classify(f"{address}/absent.png", timeout=5)
        server.shutdown()


def test_texts_that_are_no_picture_are_named(classify, monkeypatch, sixteen_bit):
    for text in ("cats", "cats.jpg", "absent/cat.png"):
        with pytest.raises(ValueError, match=rf"'{text}' is no file, no address .* no picture in base64"):
            classify(text)
    text = base64.b64encode(sixteen_bit.read_bytes()).decode()
    with pytest.raises(ValueError, match="cannot be read"):
        classify(text[: len(text) // 8 * 4])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"more pixels than PIL.Image.MAX_IMAGE_PIXELS = 1000"):
        classify(text)


@pytest.mark.parametrize("top_k", ["2", 0, 1.5, True])
def test_a_number_of_classes_that_is_none(classify, pictures, top_k):
    with pytest.raises(ValueError, match=rf"top_k={top_k!r}; give a whole number of at least 1"):
        classify(pictures[0], top_k=top_k)
    assert len(classify(pictures[0], top_k=np.int64(2))) == 2


def test_no_pictures_and_a_tuple_of_some(classify, pictures):
    assert classify([]) == classify(()) == []
    labels = [[one["label"] for one in found] for found in classify(tuple(pictures))]
    assert labels == [[one["label"] for one in found] for found in classify(pictures)]
