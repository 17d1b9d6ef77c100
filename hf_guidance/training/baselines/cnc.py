"""CnC: rows of one class on which a first model disagrees are drawn together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Sampler

from hf_guidance.forward import full_precision
from hf_guidance.training.baselines.contrast import contrast, cosines
from hf_guidance.training.baselines.labels import class_labels
from hf_guidance.training.baselines.method import Method, MethodRun, Step
from hf_guidance.training.baselines.setting import Setting


class _Run(MethodRun):
    def __init__(self, method: CnC, saved: Mapping[str, Tensor], device: torch.device) -> None:
        super().__init__()
        self._method, self._saved = method, dict(saved)
        self._predicted = saved["predicted"].to(device)

    def sampler(self, batch_size: int, seed: int) -> Sampler[int] | None:
        return ContrastSampler(
            self._saved["labels"], self._saved["predicted"], batch_size, seed, two_sided=self._method.two_sided
        )

    def loss(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        logits, features = step.main.with_features(step.batch, self._method.head)
        labels, predicted = class_labels(step.batch, logits), self._predicted[step.index]
        positives, negatives = pairs(labels, predicted)
        losses, usable = contrast(cosines(full_precision(features)), positives, negatives, self._method.temperature)
        if not self._method.two_sided:
            usable = usable & (labels == predicted)
        drawn = (losses * usable).sum() / usable.sum().clamp_min(1)
        task, share = F.cross_entropy(full_precision(logits), labels), self._method.weight
        skipped = 1 - usable.float().mean()
        return share * drawn + (1 - share) * task, {"task": task, "contrast": drawn, "anchors_skipped": skipped}

    def state(self) -> dict[str, Tensor]:
        return self._saved


@dataclass(frozen=True)
class CnC(Method):
    """Correct-n-contrast: ``L = weight mean_a contrast(a) + (1 - weight) mean_n CE(f(x_n), y_n)``.

    Of an anchor, positives have its label and another prediction of the first model, negatives another label and its
    prediction; similarities are cosines of the features below the last layer, see ``contrast``. Anchors are the rows that the
    first model gets right; two-sided, the others, too. The first model predicts once, before the first step.

    Batches are drawn for it (``ContrastSampler``): of one class at a time, equal parts of anchors, positives and negatives, and
    two-sided of negatives for the positives. An epoch draws as many rows as the training set has, where the official code draws
    one such batch for every anchor and sums gradients over 32 of them (``gradient_accumulation_steps``). Anchors without
    positives or negatives in their batch are left out of the mean, and counted as ``loss/anchors_skipped``.

    Args:
        temperature: Above 0; 0.1 for Waterbirds, 0.05 for CelebA in the official code.
        weight: Share of the contrast in [0, 1]; 0.75 in the official code.
        two_sided: Whether rows that the first model gets wrong are anchors, too.
        identifier: The first model; the trained model as training begins when None, as in the comparison of CRAYON.
        head: Path of the last layer; the family's ``pooled_linear`` when None.

    Raises:
        ValueError: ``temperature`` not above 0, ``weight`` outside [0, 1]. On training, no class has both positives and
            negatives, or a batch of fewer than 4 rows.

    When to use:
        The first model errs on enough rows of every class; with few errors the same rows are drawn over and over.

    Reference:
        Zhang et al., "Correct-N-Contrast: A Contrastive Approach for Improving Robustness to Spurious Correlations", ICML 2022,
        arXiv 2203.01517, algorithm 1; HazyResearch/correct-n-contrast@eaa1c66.

    Example:
        >>> from hf_guidance.training.baselines import CnC
        >>> method = CnC(temperature=0.05)
    """

    temperature: float = 0.1
    weight: float = 0.75
    two_sided: bool = True
    identifier: nn.Module | None = field(default=None, repr=False)
    head: str | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"CnC(temperature={self.temperature}): give a number above 0, such as 0.1.")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"CnC(weight={self.weight}) is outside [0, 1]; give for example 0.75.")

    def begin(self, setting: Setting, saved: Mapping[str, Tensor] | None) -> MethodRun:
        """Have the first model predict, or read what it predicted."""
        setting.main.head(self.head)
        if saved is None:
            logits, labels = setting.predicted("CnC: the first model's predictions", self.identifier)
            saved = {"labels": labels, "predicted": logits.argmax(1)}
        return _Run(self, saved, setting.device)


def pairs(labels: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
    """Which images of a batch are positives and which negatives of each: two (images, images) bool.

    Args:
        labels: (images,) int64.
        predicted: (images,) int64, by the first model.
    """
    same_label, same_guess = labels[:, None] == labels[None], predicted[:, None] == predicted[None]
    return same_label & ~same_guess, ~same_label & same_guess


class ContrastSampler(Sampler[int]):
    """Draws batch after batch of one class's anchors with positives and negatives; the same in every run of a seed.

    Classes take turns. Where a class has no positives, rows of it take their place, and rows of other classes that of missing
    negatives: they are no pairs of the loss, but the class is trained on as often as others. A part that has fewer rows than
    it fills is drawn with replacement. A batch ends with rows drawn from all where its parts do not fill it.

    Args:
        labels: (rows,) int64.
        predicted: (rows,) int64, by the first model.
        batch_size: Rows of a batch.
        seed: Of the draws.
        two_sided: Whether a part of the batch is negatives of the positives.

    Raises:
        ValueError: No class has anchors, positives and negatives; or the batch is too small.
    """

    def __init__(self, labels: Tensor, predicted: Tensor, batch_size: int, seed: int, two_sided: bool = True) -> None:
        right, usable = labels == predicted, False
        classes = [int(value) for value in labels.unique()]
        self._parts: dict[int, tuple[Tensor, ...]] = {}
        for of in classes:
            own, wrongly = labels == of, ~right & (predicted == of)
            wanted = (own & right, own & ~right, wrongly)
            # Such a class has anchors without contrast, but its rows are drawn as often as the others'.
            instead = (own, own, ~own)
            self._parts[of] = tuple(a if a.any() else b for a, b in zip(wanted, instead, strict=True))
            usable = usable or all(bool(mask.any()) for mask in wanted)
            if (
                two_sided and wanted[0].any()
            ):  # rows of it that are wrong have the class that they are taken for as negatives
                usable = usable or bool((right & torch.isin(labels, predicted[wanted[1]])).any())
        if not usable:
            raise ValueError(
                "CnC: no class has rows that the first model gets right, rows of it that it gets wrong, and negatives of "
                f"either; it is wrong on {int((~right).sum())} of {len(labels)} rows. Give a model that was "
                "trained less: CnC(identifier=...)."
            )
        self._size = batch_size // (4 if two_sided else 3)
        if self._size < 1:
            raise ValueError(
                f"CnC: a batch of {batch_size} rows holds no anchor, positive and negative; give at least 4."
            )
        self._labels, self._predicted, self._right = labels, predicted, right
        self._batch, self._seed, self._epoch, self._two_sided = batch_size, seed, 0, two_sided

    def set_epoch(self, epoch: int) -> None:
        """Called by the loader at the begin of every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        left, turn, classes = len(self), 0, list(self._parts)
        while left > 0:
            drawn = self._block(classes[turn % len(classes)], generator)[:left]
            yield from drawn.tolist()
            left, turn = left - len(drawn), turn + 1

    def _block(self, of: int, generator: torch.Generator) -> Tensor:
        anchors, positives, negatives = (self._drawn(mask, self._size, generator) for mask in self._parts[of])
        block = [anchors, positives, negatives]
        if self._two_sided:  # rows rightly taken for what the first model takes the first positive for
            easy = self._right & (self._labels == self._predicted[positives[0]])
            block += [self._drawn(easy, self._size, generator)] if easy.any() else []
        rest = self._batch - sum(map(len, block))
        block.append(torch.randint(len(self._labels), (rest,), generator=generator))
        return torch.cat(block)

    @staticmethod
    def _drawn(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
        rows = mask.nonzero().flatten()
        if len(rows) >= count:
            return rows[torch.randperm(len(rows), generator=generator)[:count]]
        return rows[torch.randint(len(rows), (count,), generator=generator)]
