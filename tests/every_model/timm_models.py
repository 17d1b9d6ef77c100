"""The smallest model of every module of timm, with random weights, inside transformers' wrapper.

``timm_models.txt`` names them, one module a line: the smallest model of each class of nets in it, by parameters, and a second
one where a class holds two kinds of nets.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from every_model.candidate import CLASSES, Candidate

TABLE = Path(__file__).with_name("timm_models.txt")
_ANY = (160, 192)  # (height, width) for models that take any size

# Where even the smallest is large: the same architecture with fewer blocks and narrower.
_BLOCKS = {"depth": 4, "embed_dim": 48, "num_heads": 4}
_STAGES = {"depths": (1, 1, 2, 1)}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "beit_base_patch16_224": _BLOCKS,
    "davit_tiny": _STAGES | {"embed_dims": (24, 48, 96, 192)},
    "deepseek_vit_412m": _BLOCKS,
    "gemma4_vit_167m": _BLOCKS | {"head_dim": 12, "intermediate_size": 96},
    "hiera_tiny_224": {"embed_dim": 24, "stages": (1, 2, 3, 2)},
    "naflexvit_base_patch16_gap": _BLOCKS,
    "nextvit_small": {"depths": (1, 1, 5, 1)},
    "qwen3_vit_88m": _BLOCKS,
    "sam2_hiera_tiny": {"embed_dim": 24, "stages": (1, 2, 3, 2), "global_att_blocks": (4,)}
    | {"pretrained_cfg_overlay": {"input_size": (3, 256, 256)}},
    "samvit_base_patch16_224": _BLOCKS,
    "sequencer2d_s": {"layers": (1, 1, 2, 1)},
    "swin_tiny_patch4_window7_224": _STAGES | {"embed_dim": 24},
    "swinv2_cr_tiny_224": _STAGES | {"embed_dim": 24},
    "swinv2_tiny_window8_256": _STAGES | {"embed_dim": 24},
    "tnt_s_legacy_patch16_224": {"depth": 4},
    "twins_svt_small": _STAGES | {"embed_dims": (16, 32, 64, 128)},
}
# Models that take any size, but whose last grid is too small at ``_ANY``, or which must be square.
_SIZES = {
    "convmixer_768_32": (112, 140),
    "csatv2": (256, 320),
    "deepseek_vit_412m": (168, 210),
    "efficientvim_m1": (224, 288),
    "efficientvim_m1_dist": (224, 288),
    "inception_resnet_v2": (192, 224),
    "inception_v3": (192, 224),
    "inception_v4": (192, 224),
    "pnasnet5large": (224, 256),
    "selecsls42": (224, 288),
    "shvit_s1": (256, 320),
}


def candidates() -> list[Candidate]:
    """Those of the table, in its order."""
    lines = [line.split() for line in TABLE.read_text().splitlines()]
    return [candidate(name, module) for module, *names in lines for name in names]


def candidate(name: str, module: str | None = None, **arguments: Any) -> Candidate:
    """Any model of timm.

    Args:
        name: The model.
        module: The module of timm that holds it.
        **arguments: Arguments of timm.create_model, beside those that make a large model small.
    """
    given = _ARGUMENTS.get(name, {}) | arguments
    module = module or timm.models.model_entrypoint(name).__module__.split(".")[-1]
    return Candidate("timm", module, name, arguments.get("img_size", _size(name)), partial(_wrapped, name, given))


def _size(name: str) -> tuple[int, int]:
    config = timm.get_pretrained_cfg(name)
    if name in _SIZES or config is None:
        return _SIZES.get(name, _ANY)
    own, least = config.input_size[1:], config.min_input_size or (0, 0, 0)
    return own if config.fixed_input_size else (max(_ANY[0], least[1]), max(_ANY[1], least[2]))


def _wrapped(name: str, arguments: dict[str, Any]) -> nn.Module:
    return TimmWrapperForImageClassification(
        TimmWrapperConfig(architecture=name, num_labels=CLASSES, model_args=arguments)
    )


def missing() -> list[str]:
    """A line for the table for each module of the installed timm that it lacks."""
    known = {line.split()[0] for line in TABLE.read_text().splitlines()}
    return [_smallest(module) for module in timm.list_modules() if module not in known]


def _smallest(module: str) -> str:
    found: dict[type, tuple[int, str]] = {}
    for name in timm.list_models(module=module):
        with torch.device("meta"):
            net = timm.create_model(name, num_classes=CLASSES)
        if not type(net).__name__.endswith("Encoder"):  # part of a model of images and text, without classes
            size = sum(parameter.numel() for parameter in net.parameters())
            found[type(net)] = min(found.get(type(net), (size, name)), (size, name))
    return " ".join([module, *(name for _, name in sorted(found.values()))])
