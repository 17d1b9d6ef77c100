"""Hands a panel to what the trainer reports to: TensorBoard, Weights & Biases, trackio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers.integrations import INTEGRATION_TO_CALLBACK
from transformers.utils import logging

logger = logging.get_logger(__name__)

Picture = npt.NDArray[np.uint8]
Sender = Callable[[Any, str, Picture, Mapping[str, float], int], None]


def _to_tensorboard(callback: Any, name: str, picture: Picture, scalars: Mapping[str, float], step: int) -> None:
    writer = callback.tb_writer  # None before training, and after it
    if writer is not None:
        writer.add_image(name, picture, step, dataformats="HWC")
        for key, value in scalars.items():
            writer.add_scalar(key, value, step)
        writer.flush()


def _to_wandb(callback: Any, name: str, picture: Picture, scalars: Mapping[str, float], step: int) -> None:
    entry = {name: callback._wandb.Image(picture, caption=f"step {step}")}
    callback._wandb.log({**entry, **scalars, "train/global_step": step})


def _to_trackio(callback: Any, name: str, picture: Picture, scalars: Mapping[str, float], step: int) -> None:
    image = getattr(callback._trackio, "Image", None)
    entry = {} if image is None else {name: image(picture, caption=f"step {step}")}
    callback._trackio.log({**entry, **scalars, "train/global_step": step})
    if image is None:
        raise RuntimeError("this trackio has no images; install a newer one")


_SENDERS: dict[str, Sender] = {"tensorboard": _to_tensorboard, "wandb": _to_wandb, "trackio": _to_trackio}
"""Integration, as ``report_to`` names it, to what sends a picture to it."""
_NO_LOGS = ("codecarbon", "kubeflow")  # which show no metrics either


class Writers:
    """What the trainer reports to, found among its callbacks.

    What cannot take a picture is told once; the PNGs are there in any case.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def send(self, trainer: Any, name: str, picture: Picture, scalars: Mapping[str, float], step: int) -> None:
        """Send a picture and scalars.

        Args:
            trainer: The trainer.
            name: Of the picture, as "panel/attributions".
            picture: (height, width, 3).
            scalars: Name to number.
            step: The step of both.
        """
        known = {cls: integration for integration, cls in INTEGRATION_TO_CALLBACK.items()}
        for callback in trainer.callback_handler.callbacks:
            integration = next((known[cls] for cls in type(callback).__mro__ if cls in known), None)
            if integration is None or integration in _NO_LOGS:
                continue
            try:
                if integration not in _SENDERS:
                    raise NotImplementedError("it is given no images by AttributionPanel")
                _SENDERS[integration](callback, name, picture, scalars, step)
            except Exception as error:  # whatever a service raises, training goes on
                self._tell(integration, step, error)

    def _tell(self, integration: str, step: int, error: Exception) -> None:
        if integration not in self._told:
            self._told.add(integration)
            logger.warning(
                f"the attribution panel of step {step} was not sent to {integration}: {type(error).__name__}: {error}. The "
                "pictures are in the folder panels of the output_dir; this is said once for each integration."
            )
