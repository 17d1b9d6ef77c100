"""Boxes replaced by a fill, without making the edited copies."""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_rows(x: Tensor, rows: int) -> Tensor:
    """Repeat (n, ...) copy by copy to (rows, ...): entry i of the result is entry i % n.

    Raises:
        ValueError: ``rows`` is not a multiple of n.
    """
    if len(x) == rows:
        return x
    if len(x) == 0 or rows % len(x):
        raise ValueError(f"{len(x)} rows cannot be repeated to {rows}; copies x batch rows are needed, copy by copy.")
    return x.expand(rows // len(x), *x.shape).flatten(0, 1)


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """``v_r = sum_k w_rk x_(r mod n)k``, without repeating the values.

    Args:
        weights: (rows, objects), copy by copy; rows is a multiple of n.
        values: (n, objects, dims).

    Returns:
        (rows, dims).
    """
    per_copy = weights.unflatten(0, (len(weights) // len(values), len(values)))
    return torch.einsum("cnk,nkd->cnd", per_copy, values).flatten(0, 1)


def choose(keep: Tensor, kept: Tensor, other: Tensor, batch: int) -> Tensor:
    """``where(keep, kept, other)`` with both repeated copy by copy, but only inside ``where``.

    Args:
        keep: (rows, objects, ...) bool.
        kept: (batch or rows, objects, ...).
        other: (1, batch or rows; 1 or objects; ...).
        batch: Entries of one copy, the batch size.

    Returns:
        (rows, objects, ...).
    """

    def per_copy(x: Tensor) -> Tensor:
        return x[None] if len(x) == 1 else x.unflatten(0, (len(x) // batch, batch))

    return torch.where(per_copy(keep), per_copy(kept), per_copy(other)).flatten(0, 1)


def fill_of(fill: Tensor | float, features: Tensor, rows: int) -> Tensor:
    """Give a fill three axes, each of full length or 1, so that one vector is projected once and not once per box.

    Args:
        fill: A number, or a tensor that broadcasts against ``features`` or against the edited copies.
        features: (batch, objects, dims).
        rows: Entries of all edited copies, copies * batch.

    Returns:
        (1, batch or rows; 1 or objects; 1 or dims).

    Raises:
        ValueError: The shape does not broadcast.
    """
    filled = fill if isinstance(fill, Tensor) else features.new_full((), fill)
    filled = filled.reshape((1,) * (3 - filled.dim()) + tuple(filled.shape))
    batch, objects, dims = features.shape
    allowed = ({1, batch, rows}, {1, objects}, {1, dims})
    if filled.dim() != 3 or any(size not in sizes for size, sizes in zip(filled.shape, allowed, strict=True)):
        raise ValueError(
            f"fill of shape {tuple(filled.shape)} does not broadcast against visual_feats of shape {(batch, objects, dims)} "
            f"or {rows} edited copies; give a number, (dims,), (objects, dims), (batch, objects, dims) or "
            "(rows, objects, dims), any axis 1."
        )
    return filled


def check_features(
    features: Tensor | None, dims: int, name: str = "visual_feats", config: str = "visual_feat_dim"
) -> Tensor:
    """Give (batch, objects, dims) features back, or refuse them.

    Args:
        features: What the model was given.
        dims: The numbers of a box.
        name: The argument, for the error.
        config: The field of the configuration that says ``dims``, for the error.

    Raises:
        ValueError: No features, or of another shape.
    """
    if features is None or features.dim() != 3 or features.shape[-1] != dims:
        given = None if features is None else tuple(features.shape)
        raise ValueError(f"{name} has shape {given}; (batch, objects, {dims}) is needed (config.{config}).")
    return features


def check_keep(keep: Tensor | None, fill: Tensor | float | None, features: Tensor) -> None:
    """Refuse a ``keep`` that is not a mask of the boxes in whole copies of the batch.

    Raises:
        ValueError: Wrong type or shape, or one of keep and fill without the other.
    """
    if keep is None:
        if fill is not None:
            raise ValueError("fill is given without keep; say which boxes stay: keep of shape (rows, objects), bool.")
        return
    if fill is None:
        raise ValueError("keep is given without fill; say what the other boxes hold, for example fill=-1.0.")
    if keep.dtype != torch.bool:
        raise ValueError(f"keep has dtype {keep.dtype}; bool is needed. For shares of a box, edit visual_feats itself.")
    batch, objects = features.shape[:2]
    if keep.dim() != 2 or keep.shape[1] != objects or batch == 0 or len(keep) % batch:
        raise ValueError(
            f"keep of shape {tuple(keep.shape)} does not fit visual_feats of shape {tuple(features.shape)}; "
            f"(copies * {batch}, {objects}) is needed, copy by copy."
        )


def check_projection(projected: Tensor, features: Tensor, name: str = "box_projection") -> None:
    """Refuse a projection of other boxes than those of ``features``.

    Raises:
        ValueError: The batch sizes or the numbers of boxes differ.
    """
    if projected.shape[:2] != features.shape[:2]:
        raise ValueError(
            f"{name} of shape {tuple(projected.shape)} does not belong to visual_feats of shape {tuple(features.shape)}; "
            "pass the one that the call with these features returned."
        )


def rows_of(features: Tensor, question: Tensor, keep: Tensor | None) -> int:
    """How many answers a call gives: as many as there are questions, images or edited copies, whichever is more.

    Args:
        features: (images, objects, dims).
        question: (questions, size): one per image, or copies * images, copy by copy.
        keep: (copies * images, objects), or None.

    Raises:
        ValueError: Questions, images and copies are not multiples of each other.
    """
    images, questions = len(features), len(question)
    rows = max(images, questions) if keep is None else len(keep)
    for part in {images, questions} - {rows}:
        if part == 0 or rows % part or (keep is not None and part != images):
            raise ValueError(
                f"{part} rows cannot be repeated to {rows}: there are {questions} questions and {images} images. Give a "
                f"question for each image, or copies * {images} questions, copy by copy (question i is about image i % "
                f"{images})."
            )
    return rows
