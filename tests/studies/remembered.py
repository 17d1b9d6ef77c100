"""Read, resize and compute once what does not change from run to run: photographs, and what a frozen network gives for them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from datasets import Image
from torch import Tensor

from hf_guidance.data.images.processed_pixels import ProcessedPixels, all_tensors


class Remembered:
    """A function of single images that keeps what it gave for each; for what does not change while it is used.

    Images are told apart by a digest of their values. What requires a gradient is computed anew.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.kept: dict[bytes, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            return self.function(images)
        names = [_digest(image) for image in images]
        new = {name: place for place, name in enumerate(names) if name not in self.kept}
        if new:
            with torch.no_grad():
                found = self.function(images[list(new.values())])
            self.kept.update(zip(new, found.clone(), strict=True))
        return torch.stack([self.kept[name] for name in names])


def remember_blocks(model: Any, known: dict[bytes, Tensor], stages: int | None = None) -> None:
    """Let a pretrained EfficientNet of timm remember what its frozen blocks give, in ``known``.

    The layers keep their names; a layer inside what is remembered cannot be explained then, for it is not called for known
    images. Layers must have been found before, for that is done under other weights.

    Args:
        model: The network.
        known: What is remembered, of one number of stages.
        stages: How many stages of blocks are remembered, from the first on; None: all.
    """
    net = model.timm_model
    parts = [net.conv_stem, net.bn1, *net.blocks[:stages]]
    forwards = [part.forward for part in parts]

    def through(images: Tensor) -> Tensor:
        for forward in forwards:
            images = forward(images)
        return images

    for part in parts[:-1]:
        part.forward = _as_given
    parts[-1].forward = Remembered(through)
    parts[-1].forward.kept = known


@contextmanager
def remembered_photos(decoded: dict[Any, Any], processed: dict[Any, Tensor]) -> Iterator[None]:
    """Within this, files are decoded once, into ``decoded``, and images of one content processed once, into ``processed``.

    Files are known by their paths, and must not change; there must be one image processor.
    """
    decode, of = Image.decode_example, ProcessedPixels.of

    def decode_once(self: Image, value: Any, *args: Any, **given: Any) -> Any:
        path = value.get("path") if isinstance(value, dict) and value.get("bytes") is None else None
        if path is None:
            return decode(self, value, *args, **given)
        if path not in decoded:
            decoded[path] = decode(self, value, *args, **given)
        return decoded[path]

    def process_once(self: ProcessedPixels, images: Sequence[Any]) -> Tensor:
        if all_tensors(images):
            return of(self, images)
        names = [(image.size, image.mode, _hash(image.tobytes())) for image in images]
        new = {name: image for name, image in zip(names, images, strict=True) if name not in processed}
        if new:
            processed.update(zip(new, of(self, list(new.values())), strict=True))
        return torch.stack([processed[name] for name in names])

    with patch.object(Image, "decode_example", decode_once), patch.object(ProcessedPixels, "of", process_once):
        yield


def _as_given(images: Tensor) -> Tensor:
    return images


def _digest(image: Tensor) -> bytes:
    return _hash(image.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
