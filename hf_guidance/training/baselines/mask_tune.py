"""MaskTune: what the model looks at most is hidden, and it is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_guidance.attributions import Attribution, GradCAM, PredictedLogit
from hf_guidance.common.wrappers import unwrapped
from hf_guidance.data.columns import ROW, SLOT, TARGET
from hf_guidance.forward import Forward, full_precision
from hf_guidance.forward.maps import onto_image
from hf_guidance.training.baselines.bits import packed, unpacked
from hf_guidance.training.baselines.labels import class_labels
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting


class _Run(MethodRun):
    def __init__(self, method: MaskTune, saved: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__()
        self._fill, self._size = method.fill, tuple(saved["size"].tolist())
        self._kept, self._saved_size = saved["kept"].to(device), saved["size"]

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        name = step.main.family.features
        pixels = step.batch[name]
        if tuple(pixels.shape[-2:]) != self._size:
            raise ValueError(
                f"MaskTune: the images have {tuple(pixels.shape[-2:])} pixels, those that were masked {self._size}; the image "
                "processor must give all the same size."
            )
        keep = unpacked(self._kept[step.index], math.prod(self._size)).unflatten(1, self._size)
        batch = {**step.batch, name: masked(pixels, keep, self._fill)}
        logits = full_precision(step.main.logits(batch))
        loss = F.cross_entropy(logits, class_labels(batch, logits))
        return loss, {"task": loss, "masked_share": 1 - keep.float().mean()}

    def state(self) -> dict[str, Tensor]:
        return {"kept": self._kept, "size": self._saved_size}


@dataclass(frozen=True)
class MaskTune(Method):
    """Cross-entropy on images of which the pixels that the starting model looks at most are hidden; one epoch.

    The map A is Grad-CAM of the predicted class before the first step, in eval mode, less its lowest value, at the size of the
    pixels.
    A pixel is hidden where ``A > mean + 2 sd`` of the map's own positive values (sd over all of them, not less one). Masks are
    made once and kept as bits: 224 x 224 pixels of 5,000 images are 31 MB in a checkpoint.

    Set ``num_train_epochs=1``, as the paper does. Masks are of the pixels that the collator makes for evaluation, so it must
    not augment.

    Args:
        attribution: What makes the map. The official code's released runs take XGradCAM, another weighting of channels.
        deviations: How many standard deviations above the mean; 2 in the official code.
        fill: The value of a hidden pixel, or one for each channel, in the units of ``pixel_values``. The official code sets
            pixels of the image file to 0, black; with a processor that normalises, black is ``-mean / sd`` of each channel.

    Raises:
        ValueError: A number that is not finite. On training, a collator with a transform, images of several sizes, or a layer
            without places.

    When to use:
        A starting model that relies on one place of the image, where others tell the class as well.

    Reference:
        Asgari et al., "MaskTune: Mitigating Spurious Correlations by Forcing to Explore", NeurIPS 2022, arXiv 2210.00055;
        aliasgharkhani/Masktune@9a0e241.

    Example:
        >>> from hf_guidance.training.baselines import MaskTune
        >>> method = MaskTune()
    """

    attribution: Attribution = field(default_factory=lambda: GradCAM(target=PredictedLogit()))
    deviations: float = 2.0
    fill: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        values = self.fill if isinstance(self.fill, tuple) else (self.fill,)
        if not all(math.isfinite(value) for value in (*values, self.deviations)):
            raise ValueError(f"{self!r}: give finite numbers.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Make the masks, or read those of the checkpoint."""
        if getattr(setting.collator, "transform", None) is not None:
            raise ValueError(
                "MaskTune: the collator's transform would move the pixels away from their masks; train with transform=None."
            )
        return _Run(self, self._masks(setting) if saved is None else saved, setting.device)

    def _masks(self, setting: Setting) -> dict[str, Tensor]:
        kept: list[Tensor] = []
        sizes: set[tuple[int, ...]] = set()
        main, method = setting.main, self.attribution
        for batch in setting.batches("MaskTune: masks", unwrapped(main.model)):
            pixels = batch[main.family.features]
            labels = class_labels(batch, main.logits(batch))
            places = list(range(len(labels)))
            explained = {**batch, ROW: places, SLOT: [0] * len(places), TARGET: labels}
            forward = Forward(main.model, main.family, explained, method.needs())
            maps = full_precision(method(forward)).detach()
            grid, size = tuple(maps.shape[1:]), (int(pixels.shape[-2]), int(pixels.shape[-1]))
            maps = onto_image(maps - maps.amin((-2, -1), keepdim=True), size, forward.seen(grid))
            kept.append(packed(kept_pixels(maps, self.deviations).flatten(1)).cpu())
            sizes.add(size)
        if len(sizes) != 1:
            raise ValueError(f"MaskTune: the images have pixels of several sizes, {sorted(sizes)}; resize them to one.")
        return {"kept": torch.cat(kept), "size": torch.tensor(sizes.pop())}


def kept_pixels(maps: Tensor, deviations: float = 2.0) -> Tensor:
    """Which pixels stay: those that are not above ``mean + deviations * sd`` of the map's positive values.

    Args:
        maps: (images, height, width) floats.
        deviations: How many standard deviations, of the population.

    Returns:
        (images, height, width) bool; all True for a map without positive values.
    """
    positive = maps > 0
    count = positive.sum((-2, -1), keepdim=True).clamp_min(1)
    values = torch.where(positive, maps, torch.zeros_like(maps))
    mean = values.sum((-2, -1), keepdim=True) / count
    squares = torch.where(positive, (maps - mean) ** 2, torch.zeros_like(maps)).sum((-2, -1), keepdim=True)
    return ~positive | (maps <= mean + deviations * (squares / count).sqrt())


def masked(pixels: Tensor, keep: Tensor, fill: float | tuple[float, ...]) -> Tensor:
    """Images with a value in the place of the pixels that do not stay.

    Args:
        pixels: (images, channels, height, width).
        keep: (images, height, width) bool.
        fill: The value, or one for each channel.

    Raises:
        ValueError: Another number of values than channels.
    """
    values = pixels.new_tensor(fill if isinstance(fill, tuple) else (fill,))
    if len(values) not in (1, pixels.shape[1]):
        raise ValueError(
            f"MaskTune(fill={fill}): the images have {pixels.shape[1]} channels; give one value or as many."
        )
    return torch.where(keep[:, None], pixels, values[None, :, None, None])
