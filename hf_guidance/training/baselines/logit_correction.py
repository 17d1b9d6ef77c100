"""LC: logits are corrected by how often a class goes with what a biased model guesses."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_guidance.common.checks import check_choice
from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.generalised_cross_entropy import generalised_cross_entropy
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting

_BIASED, _AVERAGES = "biased", ("batch", "running")


class _Run(MethodRun):
    def __init__(self, method: LC, biased: nn.Module, saved: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__()
        self._method, self.models, self.rate = method, {_BIASED: biased}, method.biased_rate
        self._table, self._seen = saved["table"].to(device), saved["seen"].to(device)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        method, name = self._method, step.main.family.features
        of_biased, labels = step.scored(self.models[_BIASED])
        shares = (of_biased.detach() / method.temperature).softmax(1)
        guesses = shares.argmax(1)
        prior = self._prior(shares, labels, guesses)
        lam, partners = self._mixture(step.epoch), minority_partners(labels, guesses)
        pixels = step.batch[name]
        mixed = lam * pixels + (1 - lam) * pixels[partners]
        logits = full_precision(step.main.logits({name: mixed}))
        # Partners are of the same class, so that the mixed loss is that of the class.
        task = corrected_cross_entropy(logits, labels, lam * prior + (1 - lam) * prior[partners], method.eta).mean()
        generalised = generalised_cross_entropy(of_biased, labels, method.q).mean()
        return task + method.biased_weight * generalised, {"task": task, "biased": generalised}

    def _mixture(self, epoch: float) -> float:
        most = 0.5 * ramp(int(epoch), self._method.ramp_epochs)
        return 1 - most - most * float(torch.rand(()))  # on the host, where no step waits for it

    def _prior(self, shares: Tensor, labels: Tensor, guesses: Tensor) -> Tensor:
        if not len(self._table):
            square = shares.shape[1], shares.shape[1]
            self._table, self._seen = self._table.new_zeros(square), self._seen.new_zeros(square)
        cell = labels * shares.shape[1] + guesses
        own = shares.gather(1, labels[:, None])[:, 0].to(self._table.dtype)
        if self._method.average == "batch":
            self._table = batch_means(cell, own, shares.shape[1])
        else:
            self._table, self._seen = running_means(self._table, self._seen, cell, own, self._method.decay)
        return joint_prior(self._table, guesses).to(shares.dtype)

    def state(self) -> dict[str, Tensor]:
        return {"table": self._table, "seen": self._seen}


@dataclass(frozen=True)
class LC(Method):
    """``L = mean CE(f(x') + log(prior^eta + 1e-4), y) + biased_weight mean q p_y^q CE(g(x), y)``, logit correction.

    The biased model g guesses ``a = argmax g(x)``, the pseudo-group. A table over (y, a) holds g's mean probability of y,
    with logits divided by ``temperature``; each column a is divided by its sum, and that of an image's guess is its prior.
    ``x' = lam x + (1 - lam) x_j`` mixes the image with one of its class that g guesses wrongly (one of its class where there is
    none), the priors likewise; ``lam ~ U(1 - 2 t, 1 - t)`` is one number per batch, ``t = 0.5 exp(-5 (1 - epoch / ramp)^2)``.

    Args:
        eta: Of the correction, >= 0; 1 in the official code.
        q: Of the biased model's loss, above 0; 0.8 in the official command for Waterbirds.
        temperature: tau, above 0; 0.1 in that command.
        biased_weight: >= 0; 2 in that command.
        biased_rate: Learning rate of the biased model as a share of the trained one's, above 0; 0.1 in the official code.
        average: "batch", the table of each batch alone, as in that command, or "running", averages over all images so far.
        decay: Share of the old average for "running", in [0, 1); 0.995 in the official code.
        ramp_epochs: Epochs in which t grows, >= 0; 50 in that command, of 300. With 0 it is 0.5 from the begin.
        biased: The biased model at its start, of the trained model's architecture; a copy of that model when None, as in the
            comparison of CRAYON.

    Raises:
        ValueError: A number outside the range that is named here, or an unknown ``average``.

    When to use:
        As LfF; here groups count alike, whatever their size, and rare ones are mixed into the others.

    Reference:
        Liu et al., "Avoiding Spurious Correlations via Logit Correction", ICLR 2023, arXiv 2212.01433, algorithm 1;
        shengliu66/LC@bb46ac4, whose average over each row has no memory (alpha 0).

    Example:
        >>> from hf_guidance.training.baselines import LC
        >>> method = LC(ramp_epochs=5)
    """

    several_processes: ClassVar[bool] = False  # each would have a biased model of its own

    eta: float = 1.0
    q: float = 0.8
    temperature: float = 0.1
    biased_weight: float = 2.0
    biased_rate: float = 0.1
    average: str = "batch"
    decay: float = 0.995
    ramp_epochs: float = 50.0
    biased: nn.Module | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_choice("average", self.average, _AVERAGES, self)
        for name in ("q", "temperature", "biased_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"LC({name}={getattr(self, name)}): give a number above 0.")
        for name in ("eta", "biased_weight", "ramp_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"LC({name}={getattr(self, name)}): give a number >= 0.")
        if not 0 <= self.decay < 1:
            raise ValueError(f"LC(decay={self.decay}) is outside [0, 1); give for example 0.995.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """The table is empty, or that of the checkpoint."""
        if saved is None:
            empty = torch.zeros(0)  # its size follows from the first logits
            saved = {"table": empty, "seen": empty.bool()}
        given = setting.main.model if self.biased is None else self.biased
        return _Run(self, copy.deepcopy(given), saved, setting.device)


def corrected_cross_entropy(logits: Tensor, labels: Tensor, prior: Tensor, eta: float = 1.0) -> Tensor:
    """``CE(logits + log(prior^eta + 1e-4), y)`` of every image, (images,).

    Args:
        logits: (images, classes) floats.
        labels: (images,) int64.
        prior: (images, classes) floats >= 0.
        eta: >= 0.
    """
    return F.cross_entropy(logits + (prior**eta + 1e-4).log(), labels, reduction="none")


def batch_means(cell: Tensor, values: Tensor, classes: int) -> Tensor:
    """The mean value in every cell of the table, 0 in empty ones.

    Args:
        cell: (images,) int64, ``label * classes + guess``.
        values: (images,) floats.
        classes: Number of classes.

    Returns:
        (classes, classes) floats, by label and guess.
    """
    zeros = values.new_zeros(classes**2)
    counts = zeros.index_add(0, cell, torch.ones_like(values))
    # The official code adds 1e-4 to the counts, which makes the means of rare cells lower by up to 1e-4 of themselves.
    means: Tensor = zeros.index_add(0, cell, values) / (counts + 1e-4)
    return means.reshape(classes, classes)


def running_means(table: Tensor, seen: Tensor, cell: Tensor, values: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Running averages of the cells after the images of a batch, one after another; the first value of a cell is its average.

    Args:
        table: (classes, classes) floats.
        seen: (classes, classes) bool.
        cell: (images,) int64, ``label * classes + guess``.
        values: (images,) floats.
        decay: Share of the old average at each image.

    Returns:
        The new ``table`` and ``seen``.
    """
    inside = F.one_hot(cell, table.numel()).to(table.dtype)
    after = inside.flip(0).cumsum(0).flip(0) - inside  # images of the cell that come later
    first = (inside.cumsum(0) == 1) & (inside > 0) & ~seen.flatten()
    share = torch.where(first, torch.ones_like(inside), torch.full_like(inside, 1 - decay))
    new = (inside * share * decay**after * values[:, None]).sum(0)
    return (
        (table.flatten() * decay ** inside.sum(0) + new).reshape(table.shape),
        seen | (inside.sum(0) > 0).reshape(seen.shape),
    )


def joint_prior(table: Tensor, guesses: Tensor) -> Tensor:
    """Of every image the column of its guess, divided by the column's sum: (images, classes).

    Args:
        table: (classes, classes) floats >= 0, by label and guess.
        guesses: (images,) int64.
    """
    shares = table / table.sum(0, keepdim=True).clamp_min(torch.finfo(table.dtype).tiny)
    columns: Tensor = shares[:, guesses]
    return columns.T


def minority_partners(labels: Tensor, guesses: Tensor) -> Tensor:
    """For every image one of its class, drawn from those that the biased model guesses wrongly, if any: (images,) int64.

    Args:
        labels: (images,) int64.
        guesses: (images,) int64.
    """
    same = labels[:, None] == labels[None]
    rare = same & (labels != guesses)[None]
    return torch.multinomial(torch.where(rare.any(1, keepdim=True), rare, same).float(), 1)[:, 0]


def ramp(epoch: float, epochs: float) -> float:
    """``exp(-5 (1 - epoch / epochs)^2)``, 1 from ``epochs`` on."""
    return 1.0 if epoch >= epochs else math.exp(-5 * (1 - epoch / epochs) ** 2)
