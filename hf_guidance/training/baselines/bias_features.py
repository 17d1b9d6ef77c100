"""Features of a model that sees the shortcut, of every row of the training set."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from hf_guidance.training.baselines.setting import Setting


def cached_bias_features(
    method: str, setting: Setting, model: nn.Module, head: str | None, saved: Mapping[str, Tensor] | None
) -> Tensor:
    """What the last layer of the biased model reads, (rows, features), from the model or from a checkpoint.

    Args:
        method: Name of the method, before a progress bar.
        setting: The training set.
        model: The biased model.
        head: Path of its last layer; found when None.
        saved: The state of the checkpoint; None in a new training.

    Raises:
        ValueError: ``model`` is no module, or its last layer is not known.
    """
    if saved is not None:
        return saved["bias_features"]
    if not isinstance(model, nn.Module):
        raise ValueError(f"{method}: bias_model is a {type(model).__name__}; give a model that classifies the images.")
    features, _ = setting.features(f"{method}: bias features", model, head)
    return features
