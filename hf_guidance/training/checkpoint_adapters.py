"""Saves and loads models with adapters (PEFT): all that training changes comes back, or an error names the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME, is_peft_available, logging

from hf_guidance.common.weight_files import BESIDE_ADAPTERS as BESIDE
from hf_guidance.training.checkpoint_weights import shown

logger = logging.get_logger(__name__)

_PREFIX = "base_model.model."  # of the names in PEFT's files, whether the model is wrapped or not
_FIX = "Resume with the adapter config of the run"


def saves_adapters(model: Any) -> bool:
    """Whether ``save_pretrained`` writes adapters only: a PeftModel, or a model of transformers with ``add_adapter``."""
    if not is_peft_available():
        return False
    from peft import PeftMixedModel, PeftModel

    return isinstance(model, PeftModel | PeftMixedModel) or bool(getattr(model, "_hf_peft_config_loaded", False))


def save_beside(model: Any, folder: str | Path, whole: Mapping[str, Tensor] | None = None) -> None:
    """Write what training changes but ``save_pretrained`` leaves out: trained parameters and buffers of no adapter.

    BatchNorm's running statistics are such buffers. Only ``load_adapters`` reads the file, so there is a warning.

    Args:
        model: A model for which ``saves_adapters``.
        folder: Where its adapters were written.
        whole: Its state dict, where the model itself holds parts of its tensors only (FSDP2).
    """
    beside = _beside(model)
    saved = {name: value if whole is None else whole[name] for name, value in beside.items()}
    save_file({name: value.detach().cpu().clone() for name, value in saved.items()}, Path(folder) / BESIDE)
    learning = {
        f"{path}.running_mean"
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.training
    }
    lost = {name for name, value in beside.items() if isinstance(value, nn.Parameter)} | (learning & beside.keys())
    if lost:
        logger.warning_once(
            f"{shown(lost)} change in training, but are no part of an adapter: checkpoints hold them in {BESIDE}, "
            "which PeftModel.from_pretrained does not read. Name their modules in modules_to_save of the adapter's config; "
            "frozen_batch_norm=True keeps BatchNorm's statistics as they are."
        )


def load_adapters(model: Any, folder: str | Path) -> None:
    """Load the adapters of a checkpoint into those of a model, and what ``save_beside`` wrote.

    Args:
        model: A model for which ``saves_adapters``, with the adapters in place; filled in place.
        folder: What ``save_pretrained`` wrote: "default" lies in it, the others in folders of their names.

    Raises:
        ValueError: A trained parameter has no tensor in the files, or a tensor has no place in the model, or another shape.
    """
    missing = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for adapter in model.peft_config:
        place = _place_of(model, adapter, Path(folder))
        if place is not None:
            missing &= _load_adapter(model, adapter, place)
    missing -= _load_beside(model, Path(folder) / BESIDE)
    if missing:
        raise ValueError(
            f"{folder} does not hold all that is trained of this {type(model).__name__}; missing: {shown(missing)}. {_FIX}."
        )


def _beside(model: Any) -> dict[str, Tensor]:
    from peft import get_peft_model_state_dict

    written = {
        _address(value)
        for adapter in model.peft_config
        for value in get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False).values()
    }
    return {
        name: value
        for name, value in model.state_dict(keep_vars=True).items()
        if (value.requires_grad or not isinstance(value, nn.Parameter)) and _address(value) not in written
    }


def _address(value: Any) -> int:
    # Of a tensor that is spread over processes, where the part of this one lies.
    return int((value.to_local() if hasattr(value, "to_local") else value).data_ptr())


def _place_of(model: Any, adapter: str, folder: Path) -> Path | None:
    files = ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME
    own = folder / adapter
    if any((own / name).is_file() for name in files):
        return own
    alone = len(model.peft_config) == 1 or adapter == "default"
    return folder if alone and any((folder / name).is_file() for name in files) else None


def _load_adapter(model: nn.Module, adapter: str, place: Path) -> set[str]:
    """Load one adapter; returns the names in the model's state dict that it does not fill."""
    from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    weights = load_peft_weights(str(place), device="cpu")
    if not any(name.startswith(_PREFIX) for name, _ in model.named_parameters()):
        weights = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    try:
        result: Any = set_peft_model_state_dict(model, weights, adapter_name=adapter)
    except (KeyError, RuntimeError) as error:  # a saved module that is not there; another shape
        raise ValueError(
            f"the adapter {adapter!r} in {place} does not fit this {type(model).__name__}: {error}. {_FIX}."
        ) from error
    # With trained biases PEFT writes those of saved modules under a second and third name, and loads them by the first alone.
    twice = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False).keys()
    if left := set(result.unexpected_keys) - twice:
        raise ValueError(
            f"the adapter {adapter!r} in {place} has tensors without a place in this {type(model).__name__}: {shown(left)}. "
            f"{_FIX}."
        )
    return set(result.missing_keys)


def _load_beside(model: nn.Module, file: Path) -> set[str]:
    """Load what was saved beside the adapters; returns its names."""
    if not file.is_file():
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            logger.warning(f"{file} is missing: BatchNorm's running statistics stay those of the base model.")
        return set()
    saved, own = load_file(file), model.state_dict()
    wrong = [name for name, value in saved.items() if name not in own or own[name].shape != value.shape]
    if wrong:
        raise ValueError(
            f"{file} has tensors without a place in this {type(model).__name__}, or of another shape: {shown(wrong)}. {_FIX}."
        )
    model.load_state_dict(saved, strict=False)
    return set(saved)
