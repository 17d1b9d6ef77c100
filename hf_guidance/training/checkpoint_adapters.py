"""Loads the adapters (PEFT) of a checkpoint into a model: all that is trained, or an error that names the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME, is_peft_available

from hf_guidance.training.checkpoint_weights import shown

_PREFIX = "base_model.model."  # of the names in files, whether the model is wrapped or not
_FIX = "name what is trained beside the adapter in modules_to_save of its config, and resume with the config of the run"


def saves_adapters(model: Any) -> bool:
    """Whether ``save_pretrained`` writes adapters only: a PeftModel, or a model of transformers with ``add_adapter``."""
    if not is_peft_available():
        return False
    from peft import PeftMixedModel, PeftModel

    return isinstance(model, PeftModel | PeftMixedModel) or bool(getattr(model, "_hf_peft_config_loaded", False))


def load_adapters(model: Any, folder: str | Path) -> None:
    """Load the adapters of a checkpoint into those of a model.

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
    if missing:
        raise ValueError(
            f"{folder} does not hold all that is trained of this {type(model).__name__}; missing: {shown(missing)}. {_FIX}."
        )


def trained_beside_adapters(model: Any) -> list[str]:
    """Names of trained parameters that ``save_pretrained`` does not write, since they are of no adapter."""
    from peft import get_peft_model_state_dict

    saved = {
        value.data_ptr()
        for adapter in model.peft_config
        for value in get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False).values()
    }
    return [name for name, p in model.named_parameters() if p.requires_grad and p.data_ptr() not in saved]


def _place_of(model: Any, adapter: str, folder: Path) -> Path | None:
    files = ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME
    own = folder / adapter
    if any((own / name).is_file() for name in files):
        return own
    alone = len(model.peft_config) == 1 or adapter == "default"
    return folder if alone and any((folder / name).is_file() for name in files) else None


def _load_adapter(model: nn.Module, adapter: str, place: Path) -> set[str]:
    """Load one adapter; returns the names of the parameters that it does not fill."""
    from peft import load_peft_weights, set_peft_model_state_dict

    weights = load_peft_weights(str(place), device="cpu")
    if not any(name.startswith(_PREFIX) for name, _ in model.named_parameters()):
        weights = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    try:
        result: Any = set_peft_model_state_dict(model, weights, adapter_name=adapter)
    except (KeyError, RuntimeError) as error:  # a saved module that is not there; another shape
        raise ValueError(
            f"the adapter {adapter!r} in {place} does not fit this {type(model).__name__}: {error}. {_FIX}."
        ) from error
    if left := result.unexpected_keys:
        raise ValueError(
            f"the adapter {adapter!r} in {place} has tensors without a place in this {type(model).__name__}: {shown(left)}. "
            f"{_FIX}."
        )
    return set(result.missing_keys)
