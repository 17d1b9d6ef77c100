"""The B-cos net of the golden numbers, and its batch."""

from __future__ import annotations

import numpy as np
import torch

from hf_guidance.data.boxes import boxes_to_mask
from hf_guidance.models import BcosResNetConfig, BcosResNetForImageClassification
from hf_guidance.models.bcos_resnet.official import load_official_bcos

torch.set_num_threads(1)

SIZES = {"embedding_size": 3, "hidden_sizes": (12, 24, 48, 96), "depths": (1, 1, 1, 1), "num_labels": 4}
MULTI = "multi_label_classification"


def state_of(data):
    """The state dict of the golden file, under the authors' names."""
    return {
        name.removeprefix("state__").replace("__", "."): torch.from_numpy(np.asarray(data[name], dtype=np.float64))
        for name in data.files
        if name.startswith("state__")
    }


def golden_net(data):
    config = BcosResNetConfig(**SIZES, logit_bias=float(data["logit_bias"]), problem_type=MULTI)
    model = BcosResNetForImageClassification(config).double().eval()
    load_official_bcos(model, state_of(data))
    return model


def golden_batch(data):
    rgb = torch.from_numpy(data["image_rgb"].astype(np.float64))
    height, width = rgb.shape[-2:]
    masks = [boxes_to_mask(torch.from_numpy(data[f"boxes{i}"]), height, width) for i in range(len(rgb))]
    return {
        "pixel_values": torch.cat([rgb, 1 - rgb], 1),
        "labels": torch.from_numpy(data["labels"]),
        "target": torch.from_numpy(data["classes"]),
        "importance": torch.stack(masks).double(),
    }


def tiny_net(seed=0, **changes):
    """A small net in float64 and eval mode, every norm away from its initial values."""
    torch.manual_seed(seed)
    sizes = SIZES | {"embedding_size": 4, "hidden_sizes": (8, 12, 16, 20), "num_labels": 3} | changes
    model = BcosResNetForImageClassification(BcosResNetConfig(**sizes)).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if ".norm." in name and tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model


def pixels(images=3, size=(40, 48), seed=1):
    rgb = torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([rgb, 1 - rgb], 1)
