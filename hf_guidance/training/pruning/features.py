"""PooledFeatures: what the last layer is given, for every image of a data set, computed once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hf_guidance.common.text_files import read_json
from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.common.whole_file import whole_folder
from hf_guidance.common.wrappers import unwrapped
from hf_guidance.evaluation.explaining.models import plain_model, quiet
from hf_guidance.evaluation.patches.search import inputs_in_order
from hf_guidance.families import Family, family_of
from hf_guidance.forward.input_dtype import inputs_cast
from hf_guidance.forward.maps import full_precision
from hf_guidance.training.pruning.head import head_of, head_tensors

_VALUES, _LABELS, _FACTS = "features.bin", "labels.npy", "features.json"
_DTYPES = ("float32", "float64")


@dataclass(frozen=True, eq=False)
class PooledFeatures:
    """Inputs of a model's last layer, and labels, image by image.

    Attributes:
        values: (images, channels) float32 or float64, in memory or mapped from a file.
        labels: (images,) int64, indices of classes.
        head: Path of the last layer.
        model: Fingerprint of the model without its last layer.
    """

    values: npt.NDArray[np.floating] = field(repr=False)
    labels: npt.NDArray[np.int64] = field(repr=False)
    head: str
    model: str

    def check(self, model: nn.Module) -> None:
        """Refuse a model whose weights before the last layer, or whose channel mask, are others.

        Raises:
            ValueError: They are.
        """
        own = _fingerprint(model, self.head)
        if own != self.model:
            raise ValueError(
                f"these features are of a model with fingerprint {self.model[:12]} before its last layer, the model given has "
                f"{own[:12]}: it was trained or pruned since. Compute them again by pooled_features."
            )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PooledFeatures:
        """Open what ``pooled_features`` wrote; values stay in their file and are read as they are needed.

        Raises:
            ValueError: A file is missing, cut short or of another size.
        """
        path = Path(folder)
        if missing := [name for name in (_FACTS, _VALUES, _LABELS) if not (path / name).is_file()]:
            raise ValueError(f"{path} has no {', '.join(missing)}: compute the features again by pooled_features.")
        facts = read_json(path / _FACTS)
        names = {"images", "channels", "dtype", "head", "model"}
        if not isinstance(facts, dict) or facts.keys() != names or facts["dtype"] not in _DTYPES:
            raise ValueError(
                f"{path / _FACTS} must have {sorted(names)}: compute the features again by pooled_features."
            )
        shape, dtype = (int(facts["images"]), int(facts["channels"])), np.dtype(facts["dtype"])
        labels = np.load(path / _LABELS, allow_pickle=False)
        size = (path / _VALUES).stat().st_size
        if size != shape[0] * shape[1] * dtype.itemsize or labels.shape != shape[:1]:
            raise ValueError(
                f"{path}: {_VALUES} has {size} bytes and {_LABELS} {len(labels)} labels, but {shape[0]} images with {shape[1]} "
                f"channels of {dtype} are said to be there. Compute the features again by pooled_features."
            )
        return cls(np.memmap(path / _VALUES, dtype, "r", shape=shape), labels, facts["head"], facts["model"])


def pooled_features(
    model: Any,
    batches: Iterable[Mapping[str, Any]],
    folder: str | os.PathLike[str] | None = None,
    *,
    family: Family | None = None,
) -> PooledFeatures:
    """Compute what a model's last layer is given for every image, so that training that layer needs no other.

    The model runs once over the data, in eval mode and without a graph. The channel mask is in the features: pruned channels
    of a ResNet are 0 there. (The released code runs the whole network again in every epoch, in training mode, so that the
    statistics of its batch norms go on changing although no weight before the last layer is trained.)

    Args:
        model: An image classifier whose logits are the output of one Linear module; it is left as it was.
        batches: Batches with the inputs of the model and "labels", (images,) int64, as a DataLoader without shuffling gives
            them.
        folder: Where the features are written as they are computed, and mapped from; the folder is complete or absent. None
            keeps them in memory.
        family: The model's family; found by ``family_of`` when None.

    Returns:
        The features.

    Raises:
        ValueError: No image, no labels or others than classes, NaN, or no such last layer.

    Example:
        >>> features = pooled_features(model, DataLoader(dataset, batch_size=64, collate_fn=collate))
    """
    module = plain_model(model)
    family = family or family_of(module)
    stream = _Stream(module, family, batches)
    if folder is None:
        return PooledFeatures(*_joined(list(stream)), *stream.facts())
    with whole_folder(Path(folder)) as draft:
        labels, images, channels, dtype = [], 0, 0, _DTYPES[0]
        with (draft / _VALUES).open("wb") as file:
            for values, own in stream:
                file.write(values.tobytes())
                labels.append(own)
                images, channels, dtype = images + len(values), values.shape[1], str(values.dtype)
        if not images:
            raise _nothing()
        np.save(draft / _LABELS, np.concatenate(labels))
        head, fingerprint = stream.facts()
        facts = {"images": images, "channels": channels, "dtype": dtype, "head": head, "model": fingerprint}
        (draft / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return PooledFeatures.load(folder)


class _Stream:
    """Features and labels, batch by batch."""

    def __init__(self, model: nn.Module, family: Family, batches: Iterable[Mapping[str, Any]]) -> None:
        self._model, self._family, self._batches = model, family, batches
        self._head: str | None = None

    def facts(self) -> tuple[str, str]:
        """The last layer, and the fingerprint of the model without it."""
        assert self._head is not None
        return self._head, _fingerprint(self._model, self._head)

    def __iter__(self) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]]:
        for batch, inputs in inputs_in_order(self._model, self._family, self._batches, "features of the last layer"):
            self._head = self._head or head_of(self._model, self._family, inputs)
            values = full_precision(self._called(inputs, self._model.get_submodule(self._head)))
            if not torch.isfinite(values).all():
                raise ValueError("features hold NaN or infinity; has the model diverged? Or try model.float().")
            classes = len(self._model.get_submodule(self._head).get_parameter("weight"))
            yield values.cpu().numpy(), _labels(batch.get("labels"), len(values), classes)

    def _called(self, inputs: dict[str, Any], head: nn.Module) -> Tensor:
        kept: list[Tensor] = []
        handle = head.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        try:
            with quiet(self._model), inputs_cast(self._model):
                self._model(**inputs)
        finally:
            handle.remove()
        return kept[-1]


def _labels(labels: Any, images: int, classes: int) -> npt.NDArray[np.int64]:
    if not isinstance(labels, Tensor) or labels.shape != (images,) or labels.is_floating_point():
        told = (
            f"shape {tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else f"{type(labels).__name__}"
        )
        raise ValueError(f"a batch has labels of {told}; give one index of a class per image, ({images},) int64.")
    if not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(
            f"a batch has the labels {sorted(set(labels.tolist()))}, but the model has classes 0 to {classes - 1}."
        )
    return labels.cpu().numpy().astype(np.int64)


def _joined(parts: list[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]]) -> tuple[Any, Any]:
    if not parts:
        raise _nothing()
    values, labels = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(labels)


def _nothing() -> ValueError:
    return ValueError("batches holds no image; give at least one, and a DataLoader or list: an iterator runs out.")


def _fingerprint(model: nn.Module, head: str) -> str:
    module = unwrapped(model)
    return weights_digest(module, head_tensors(module, head))
