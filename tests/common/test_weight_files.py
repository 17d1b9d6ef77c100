"""What of an earlier save would change what is loaded of a later one."""

import pytest

from hf_guidance.common.weight_files import base_of, brings_weights, left_over

ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]
WHOLE = ["config.json", "model.safetensors"]
SHARDS = [
    "config.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
]
OTHERS = ["README.md", "model.fp16.safetensors", "model.onnx", "my_model.safetensors", "other/model.safetensors"]


@pytest.mark.parametrize(
    ("there", "saved", "found"),
    [
        ([*ADAPTER, "beside_adapters.safetensors"], WHOLE, [*ADAPTER, "beside_adapters.safetensors"]),
        (WHOLE, ADAPTER, WHOLE),
        (["pytorch_model.bin", "adapter_model.bin"], WHOLE, ["adapter_model.bin", "pytorch_model.bin"]),
        (WHOLE, SHARDS, ["model.safetensors"]),
        (SHARDS, WHOLE, sorted(SHARDS[1:])),
        (["model-00003-of-00003.safetensors"], SHARDS, ["model-00003-of-00003.safetensors"]),
        (["last/adapter_model.safetensors", "last/optimizer.pt", "optimizer.pt"], ["last/model.safetensors"],
         ["last/adapter_model.safetensors", "last/optimizer.pt"]),
        (ADAPTER, ["guidance.json", "README.md"], []),
        (OTHERS, WHOLE, []),
    ],
)  # fmt: skip
def test_weights_take_the_place_of_all_others_beside_them(there, saved, found):
    assert left_over([*there, *OTHERS], saved) == found


def test_an_adapter_of_the_weights_beside_it_leaves_them():
    assert left_over(WHOLE, ADAPTER, on_own_base=True) == []


def test_the_base_that_an_adapter_names():
    assert base_of(b'{"base_model_name_or_path": "org/net"}') == "org/net"
    assert base_of(b"{}") is base_of(b"[]") is base_of(b"\xff") is base_of(b'{"base_model_name_or_path": 1}') is None
    assert brings_weights(["sub/model.safetensors"])
    assert not brings_weights(["README.md", "config.json"])
