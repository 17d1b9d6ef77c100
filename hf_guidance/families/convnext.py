"""ConvNeXt and ConvNeXt V2 of transformers: global mean, LayerNorm, Linear."""

from __future__ import annotations

from typing import Any

from hf_guidance.families.family import Family
from hf_guidance.families.layout import Layout
from hf_guidance.families.stages import pair, spread

MODEL_TYPES = ("convnext", "convnextv2")


def build(model: Any) -> Family:
    """Layers are the outputs of the stages, "mid1" to "mid3" after the LayerNorm with which the next stage begins.

    Before that LayerNorm, input times gradient vanishes, because the LayerNorm is invariant to the scale of its input. The
    LayerNorm of the head comes after the mean: it does not make the maps at "final" vanish, but rules out the closed form
    of the gradient there.
    """
    base = model.config.model_type
    last = len(getattr(model, base).encoder.stages) - 1
    normed = [f"{base}.encoder.stages.{i}.downsampling_layer.0" for i in range(1, last + 1)]
    paths = [*normed, f"{base}.encoder.stages.{last}"]
    # The LayerNorm comes before the convolution that makes patches of twice the side.
    height, width = pair(model.config.patch_size)
    layouts = {path: Layout(patch=(height * 2**i, width * 2**i)) for i, path in enumerate(paths)}
    return Family(layers=spread(paths), layouts=layouts)
