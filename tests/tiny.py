"""Tiny models of every family, in float64, and batches for them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    TimmWrapperConfig,
    TimmWrapperForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward
from hf_guidance.models import (
    BcosResNetConfig,
    BcosResNetForImageClassification,
    XDNNResNetConfig,
    XDNNResNetForImageClassification,
)
from hf_guidance.training.attention import use_differentiable_attention

torch.set_num_threads(1)  # a hundred times faster on models this small when other processes want the cores

SIZE = (32, 64)
CLASSES = 3
LAYERS = ("input", "mid1", "mid2", "mid3", "final")
_STAGES = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "num_labels": CLASSES}
_TOKENS = {
    "hidden_size": 12, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 24, "image_size": SIZE,
    "patch_size": 8, "num_labels": CLASSES,
}  # fmt: skip


def timm_model(architecture: str, **arguments: object) -> nn.Module:
    config = TimmWrapperConfig(architecture=architecture, num_labels=CLASSES, model_args=arguments)
    return TimmWrapperForImageClassification(config)


BUILDERS = {
    "resnet": lambda: ResNetForImageClassification(ResNetConfig(embedding_size=8, layer_type="basic", **_STAGES)),
    "convnext": lambda: ConvNextForImageClassification(ConvNextConfig(**_STAGES)),
    "convnextv2": lambda: ConvNextV2ForImageClassification(ConvNextV2Config(**_STAGES)),
    "vit": lambda: ViTForImageClassification(ViTConfig(**_TOKENS)),
    "deit": lambda: DeiTForImageClassification(DeiTConfig(**_TOKENS)),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(
            image_size=SIZE, patch_size=2, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_size=2,
            num_labels=CLASSES,
        )
    ),
    "timm_resnet": lambda: timm_model("resnet18", channels=[8, 12, 16, 20], layers=[1, 1, 1, 1]),
    "timm_convnext": lambda: timm_model("convnext_atto", dims=[8, 12, 16, 20], depths=[1, 1, 1, 1]),
    "timm_vit": lambda: timm_model("vit_tiny_patch16_224", img_size=SIZE, patch_size=8, embed_dim=12, depth=4, num_heads=2),
    "timm_swin": lambda: timm_model(
        "swin_tiny_patch4_window7_224", img_size=SIZE, patch_size=2, window_size=2, embed_dim=8, depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
    ),
    "xdnn_resnet": lambda: XDNNResNetForImageClassification(
        XDNNResNetConfig(embedding_size=8, layer_type="basic", **_STAGES)
    ),
    "bcos_resnet": lambda: BcosResNetForImageClassification(
        BcosResNetConfig(num_channels=3, embedding_size=8, layer_type="basic", **_STAGES)
    ),
}  # fmt: skip


def fresh_model(name: str) -> nn.Module:
    """A new tiny model, in float64 and eval mode, no parameter at an initial value that hides a path (as 0 or 1e-6)."""
    torch.manual_seed(0)
    model = BUILDERS[name]().double().eval()
    use_differentiable_attention(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model


@lru_cache
def tiny_model(name: str) -> nn.Module:
    """The shared one: read it, do not change it."""
    return fresh_model(name)


@lru_cache
def tiny_family(name: str) -> Family:
    return family_of(tiny_model(name))


class SmoothNet(nn.Module):
    """Two convolutions and a head that are smooth everywhere, for derivatives by finite differences."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.fc = nn.Linear(4, classes)
        self.unused = nn.Linear(2, 2)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.conv2(torch.tanh(self.conv1(pixel_values))))
        return {"logits": self.fc((hidden * hidden.sigmoid()).mean((-2, -1)))}


SMOOTH_FAMILY = Family(layers={"mid1": "conv1", "final": "conv2"})


def smooth_net() -> SmoothNet:
    torch.manual_seed(3)
    return SmoothNet().double()


def make_batch(images: int = 3, size: tuple[int, int] = SIZE, channels: int = 3, seed: int = 0) -> dict[str, object]:
    """Images with one explained class each, all annotated."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    return {
        "pixel_values": torch.randn(images, channels, *size, generator=generator, dtype=torch.float64),
        "labels": labels,
        "target": labels,
        "quadrant": torch.arange(images) % 3,
        "importance": (torch.rand(images, *size, generator=generator) > 0.6).float(),
    }


def explain(model: nn.Module, family: Family, batch: dict[str, object], *methods: object, **options: object) -> Forward:
    """A Forward with the needs of attributions or objectives."""
    return Forward(model, family, batch, frozenset().union(*(method.needs() for method in methods)), **options)


def parameter_gradients(value: Tensor, model: nn.Module) -> list[Tensor]:
    """d value / d parameters, zeros where unused; leaves no .grad behind."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude (over 1 where that is zero)."""
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    if not theirs.numel():
        return 0.0
    scale = theirs.abs().max().item()
    return (ours - theirs).abs().max().item() / (scale or 1.0)
