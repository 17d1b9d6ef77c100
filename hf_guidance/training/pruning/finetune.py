"""fine_tune_head: trains the last layer of a model on features that were computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hf_guidance.common.progress import progress
from hf_guidance.evaluation.explaining.models import plain_model
from hf_guidance.training.pruning.features import PooledFeatures
from hf_guidance.training.pruning.settings import HeadTraining


def fine_tune_head(
    model: Any,
    features: PooledFeatures,
    training: HeadTraining,
    on_epoch: Callable[[int, nn.Linear, dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train the last layer alone, and put its weights back into the model (CRAYON-Pruning, paper, section III-C and Eq. 3).

    With z_n the features, W and b the last layer, and y_n the label, a step of a batch B lowers
    sum_{n in B} -log softmax(W z_n + b)_{y_n}. Nothing before the last layer changes, so an epoch reads the features and
    never calls the network. Dropout before the last layer is off.

    Args:
        model: The model of the features, pruned or not; its last layer is changed at the end, and left as it was if training
            fails.
        features: Of ``pooled_features`` for this model.
        training: Optimiser and length; ``pruning_settings`` has those of the paper.
        on_epoch: Called after each epoch with its number (from 1), the last layer as it is then, and the row of the epoch.

    Returns:
        A row for each epoch: "epoch", "loss" (mean over images, as they were seen) and "accuracy" (likewise).

    Raises:
        ValueError: The features are of another model, or the loss becomes NaN or infinite.

    Example:
        >>> rows = fine_tune_head(model, features, pruning_settings("waterbirds"))
    """
    module = plain_model(model)
    features.check(module)
    head: Any = module.get_submodule(features.head)
    dtype = torch.float64 if head.weight.dtype == torch.float64 else torch.float32
    # A copy is trained, in full precision: the model is whole if training is stopped.
    trained = copy.deepcopy(head).to(dtype).requires_grad_(True).train()
    optimizer, schedule = training.optimizer_of(trained.parameters())
    labels = torch.from_numpy(features.labels).to(head.weight.device)
    generator = torch.Generator().manual_seed(training.seed)
    rows = []
    for epoch in progress(range(1, training.epochs + 1), "last layer", unit="epoch"):
        order = torch.randperm(len(labels), generator=generator)
        row = {"epoch": float(epoch)} | _epoch(trained, optimizer, features, labels, order.split(training.batch_size))
        schedule.step()
        if not torch.isfinite(torch.tensor(row["loss"])):
            raise ValueError(
                f"the loss is {row['loss']} in epoch {epoch}: give a smaller learning_rate than {training.learning_rate}. The "
                "model is unchanged."
            )
        rows.append(row)
        if on_epoch is not None:
            on_epoch(epoch, trained, row)
    with torch.no_grad():
        for own, new in zip(head.parameters(), trained.parameters(), strict=True):
            own.copy_(new)
    return rows


def _epoch(
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    features: PooledFeatures,
    labels: Tensor,
    parts: tuple[Tensor, ...],
) -> dict[str, float]:
    weight = head.get_parameter("weight")
    total = torch.zeros((), dtype=weight.dtype, device=weight.device)
    right = torch.zeros((), dtype=torch.long, device=weight.device)
    for part in parts:
        # A copy, for the values may be mapped from a file that cannot be written to.
        values = torch.tensor(features.values[part.numpy()], dtype=weight.dtype, device=weight.device)
        own = labels[part.to(labels.device)]
        logits = head(values)
        loss = F.cross_entropy(logits, own, reduction="sum")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total, right = total + loss.detach(), right + (logits.argmax(1) == own).sum()
    return {"loss": float(total) / len(labels), "accuracy": float(right) / len(labels)}
