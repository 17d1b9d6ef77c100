"""top_patches: one pass over a data set that finds the patches of every channel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from hf_guidance.common.progress import progress
from hf_guidance.common.weights_digest import weights_digest
from hf_guidance.evaluation.explaining.models import device_of, plain_model, quiet
from hf_guidance.evaluation.patches.running_top import RunningTop
from hf_guidance.evaluation.patches.table import PatchTable, cell_size
from hf_guidance.families import Family, family_of
from hf_guidance.forward.capture import captured
from hf_guidance.forward.input_dtype import inputs_cast
from hf_guidance.forward.maps import full_precision
from hf_guidance.views.layers import FINAL


def top_patches(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    family: Family | None = None,
    layer: str = FINAL,
    top: int = 20,
) -> PatchTable:
    """Find the images and places at which each channel of a layer answers most (CRAYON, paper, section IV-B).

    For channel k and image n with activation h_nk, v_nk = max over places of h_nk. The patches of a channel are the places of
    these maxima in the ``top`` images with the largest v_nk. People are shown the first three of each.

    It takes one call of the model per batch, in eval mode and without a graph. Memory depends on the batch and on
    ``top`` times the channels, not on the number of images: values, images and places are kept together as they are found, so
    no image is read twice and no table of all images is made.

    Args:
        model: An image classifier of any family; it is left as it was.
        batches: Batches with the inputs of the model, in the order of the data set, as a DataLoader without shuffling gives
            them. The first image of the first batch has index 0.
        family: The model's family; found by ``family_of`` when None.
        layer: A symbolic layer or a module path, with places.
        top: Patches per channel, at least 1; fewer where there are fewer images.

    Returns:
        The table, with the fingerprint of the model.

    Raises:
        ValueError: No image, a shuffled DataLoader, a layer without places, images of several sizes, NaN, or ``top`` below 1.

    Example:
        >>> table = top_patches(model, DataLoader(dataset, batch_size=64, collate_fn=collate))
        >>> table.save("patches.json")
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ValueError(f"top={top!r}: give a whole number of at least 1.")
    module = plain_model(model)
    family = family or family_of(module)
    path = family.path(layer, module)
    found, size = RunningTop(top), (0, 0)
    for _, inputs in inputs_in_order(module, family, batches, "patches of channels"):
        places, size = _places(module, family, path, inputs)
        found.update(places)
    value, image, row, column = (part.numpy() for part in found.result())
    assert found.grid is not None
    patch = family.layout(path, module).patch
    return PatchTable(
        layer=path,
        images=found.images,
        image_size=size,
        grid=found.grid,
        cell=patch or cell_size(size, found.grid),
        image=image,
        row=row,
        column=column,
        value=value,
        model=weights_digest(module),
    )


def _places(model: nn.Module, family: Family, path: str, inputs: Mapping[str, Any]) -> tuple[Tensor, tuple[int, int]]:
    """The activation of a layer, (images, channels, height, width), and (height, width) of the images."""
    with quiet(model), captured(model, {path: None}) as recorded, inputs_cast(model):
        model(**inputs)
    shape = inputs[family.features].shape
    size = (int(shape[-2]), int(shape[-1]))
    places = family.of_layer(path, model).spatial(recorded[path], size)
    if places.dim() != 4:
        raise ValueError(
            f"layer {path!r} puts out {tuple(recorded[path].shape)}, without places; choose a layer before the pooling."
        )
    return full_precision(places), size


def inputs_in_order(
    model: nn.Module, family: Family, batches: Iterable[Mapping[str, Any]], what: str
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Go through the batches of a data set in its order.

    Args:
        model: The unwrapped model.
        family: Its family.
        batches: In the order of the data set.
        what: What is done, before the progress bar.

    Yields:
        The batch, and the arguments of the model's forward on the device of the model.

    Raises:
        ValueError: A DataLoader that shuffles, or a batch without the features.
    """
    if isinstance(batches, DataLoader) and isinstance(batches.sampler, RandomSampler):
        raise ValueError(
            "batches is a DataLoader that shuffles, so that indices of images mean nothing; give shuffle=False."
        )
    device = device_of(model)
    for batch in progress(batches, what):
        if family.features not in batch:
            raise ValueError(
                f"a batch has no column {family.features!r}; it has {sorted(batch)}. Does the collator make it?"
            )
        given = {name: batch[name] for name in family.inputs if name in batch}
        inputs = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}
        yield batch, {**inputs, **family.arguments}
