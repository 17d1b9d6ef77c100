"""extract_maps: where a model looks in every row of a data set, written once, for the yes/no questions of CRAYON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn
from torch.utils.data import DataLoader

from hf_guidance.attributions import Attribution, GradCAM
from hf_guidance.common.processes import forks_end_with_this_process
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.columns import IMAGE_SOURCES
from hf_guidance.data.default_collator import default_collator
from hf_guidance.data.images.collator import GuidanceCollator
from hf_guidance.data.images.row_fingerprint import changes_when_read
from hf_guidance.data.images.saved_maps import SavedMaps
from hf_guidance.evaluation.explaining.methods import method_of
from hf_guidance.evaluation.explaining.models import image_family, plain_model, quiet
from hf_guidance.evaluation.explaining.sizes import check_counts
from hf_guidance.evaluation.extraction.batches import InputsOnly, MapMaker, batches_of
from hf_guidance.evaluation.extraction.made_of import made_of
from hf_guidance.evaluation.extraction.processes import Processes
from hf_guidance.evaluation.extraction.shards import Shards
from hf_guidance.families import Family


def extract_maps(
    model: Any,
    dataset: Any,
    folder: str | Path,
    processor: Any = None,
    *,
    attribution: Attribution | str | None = None,
    collator: Any = None,
    batch_size: int = 64,
    num_workers: int = 0,
    shard_rows: int = 1024,
    overwrite: bool = False,
    max_rows: int | None = None,
    family: Family | None = None,
    model_arguments: Mapping[str, Any] | None = None,
) -> SavedMaps:
    """Write the map of every row of a data set into a folder, in shards that are whole or absent.

    The model is called in eval mode, without a graph, in the order of the rows. A run that was killed goes on when it is
    started again with the same model, rows, attribution and processor; with others it is refused. Of several processes
    (torchrun), each with the model on its own device, every one writes its own shards into the folder, which all of them see.

    Args:
        model: A classifier of images, as for `explain`: the original model, before guidance.
        dataset: Map-style rows ``{image or pixel_values, labels, image_id}``; a transform of them must not be random.
        folder: Where the maps go.
        processor: The model's image processor; None where rows hold ``pixel_values``.
        attribution: The method or its name, by default ``GradCAM()``. Its target says which class is explained: the row's
            label, or with ``GradCAM(target=PredictedLogit())`` the predicted one.
        collator: In place of ``processor``: that of training, or a function from rows to a dict of tensors.
        batch_size: Rows per call of the model.
        num_workers: Processes that read rows, as of DataLoader.
        shard_rows: Rows per file: at most so many are made again after a kill. A folder that was begun keeps its number.
        overwrite: Delete the maps in the folder first.
        max_rows: Copies per call of methods that edit images; this and those below as for `explain`.
        family: Inputs, outputs and layers of the model.
        model_arguments: Further arguments of every call.

    Raises:
        ValueError: The folder holds maps of something else; the data set is empty, random or a stream; a row cannot be used.

    Example:
        >>> maps = extract_maps(model, train, "maps", processor)
    """
    check_counts(batch_size=batch_size, shard_rows=shard_rows, max_rows=max_rows)
    net, collate = plain_model(model), _collator(collator, processor, model)
    fingerprints = Processes().fingerprints(dataset)
    _check_rows(dataset)
    with quiet(net):
        known = image_family(net, family, model_arguments)
        method = method_of(GradCAM() if attribution is None else attribution, known)
        parts = made_of(net, known, method, collate, fingerprints)
        shards = Shards.begun(Path(folder), fingerprints, parts, shard_rows, overwrite)
        waiting = shards.waiting()
        with forks_end_with_this_process():
            batches = _loader(dataset, collate, [shards.rows(one) for one in waiting], batch_size, num_workers)
            shards.fill(waiting, batches, MapMaker(net, known, method, max_rows), batch_size)
        shards.finish()
    return SavedMaps.from_folder(folder)


def _collator(given: Any, processor: Any, model: nn.Module) -> Any:
    if given is None:
        return default_collator(processor, getattr(model, "config", None))
    if processor is not None or not callable(given):
        raise ValueError(
            f"collator is a {type(given).__name__} and processor a {type(processor).__name__}; give one of the two: a "
            "collator, as GuidanceCollator(processor, num_labels=2), has its own processor."
        )
    if not isinstance(given, RowCollator):
        return given
    found = given.for_evaluation()
    if isinstance(found, GuidanceCollator):
        found.source = "auto"  # boxes and masks are left out of the rows
    return found


def _check_rows(dataset: Any) -> None:
    if not len(dataset):
        raise ValueError("the data set has no rows; give at least one.")
    if changes_when_read(dataset):
        raise ValueError(
            "the first row has other pixels each time it is read: the data set has a random transform, and maps would belong "
            "to pixels that are not seen again. Give it without, as dataset.with_format(None), or with the one of evaluation."
        )


def _loader(
    dataset: Any, collate: Any, ranges: Sequence[range], batch_size: int, num_workers: int
) -> DataLoader[dict[str, torch.Tensor]]:
    if isinstance(dataset, datasets.Dataset) and dataset.format["type"] != "custom":  # masks need not be decoded
        dataset = dataset.remove_columns([name for name in IMAGE_SOURCES if name in dataset.column_names])
    return DataLoader(
        dataset,
        batch_sampler=list(batches_of(ranges, batch_size)),
        collate_fn=InputsOnly(collate),
        num_workers=num_workers,
        generator=torch.Generator(),  # the global one goes on as if nothing had been read
    )
