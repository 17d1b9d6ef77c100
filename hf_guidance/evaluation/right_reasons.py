"""RRR: what a model predicts from the important part of its input alone, and from the rest alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_guidance.common.checks import check_count
from hf_guidance.data.columns import IMPORTANCE
from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.views import FULL, Important, ImportantOrRandom, Needs, Replace, View, zeros
from hf_guidance.views.layers import LOGITS

METRIC = "rrr"
"""Name of the evaluate module that averages what is measured here."""


@dataclass(frozen=True)
class RRR:
    """Right-for-the-right-reason metrics (arXiv 2206.11212, section 5) of pixels or boxes, measured by ``evaluate()``.

    With x_e the input whose unimportant places are replaced, and x_u the one whose important places are:
    ``rrr_suff = mean 1[argmax f(x_e) = y]``, ``rrr_unc = mean max softmax f(x_u)``, at least 1 / classes, and
    ``rrr_inv = mean 1[argmax f(x_e) = argmax f(x)]``: whether the prediction stays the same when everything unimportant is
    replaced. A map that lies inside the boxes while rrr_inv stays low is gamed: the prediction still reads the rest.
    Means are over images with something important; ``rrr_excluded_share`` is the share of annotated images without.

    Costs a model call on two copies of every annotated image, and one more copy per draw.

    Args:
        threshold: Important is ``importance > threshold``. In an image with several explained rows, to any of them.
        replace: What stands in place of what is not shown; by default zeros, which is grey for normalised images. A random
            one draws from torch's generators in every evaluation.
        draws: None compares x_e with the whole input, without chance. A number compares x_e with that many inputs that show a
            random part of the rest beside e, as the paper does with 3: boxes there, single pixels of images here.

    Raises:
        ValueError: ``threshold`` is outside [0, 1], or ``draws`` below 1; on call, the images have several labels each.

    Example:
        >>> Grounding(GradCAM(), metrics=("epg", "rrr"), rrr=RRR(replace=Blur(sigma=10.0)))
    """

    threshold: float = 0.5
    replace: Replace = zeros
    draws: int | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.threshold, int | float) and 0 <= self.threshold <= 1):
            raise ValueError(
                f"RRR(threshold={self.threshold!r}); give a number in [0, 1], the range of the importance."
            )
        if self.draws is not None:
            check_count("draws", self.draws, self)

    def important(self, column: str = IMPORTANCE) -> View:
        """The view x_e."""
        return View(Important(self.threshold, column=column), self.replace)

    def rest(self, column: str = IMPORTANCE) -> View:
        """The view x_u."""
        return View(Important(self.threshold, invert=True, column=column), self.replace)

    def compared(self, column: str = IMPORTANCE) -> list[View]:
        """The views whose prediction is compared with that on x_e."""
        if self.draws is None:
            return [FULL]
        return [View(ImportantOrRandom(self.threshold, column), self.replace, draw) for draw in range(self.draws)]

    def needs(self, column: str = IMPORTANCE) -> Needs:
        """The logits of the views."""
        return Needs((view, LOGITS) for view in (self.important(column), self.rest(column), *self.compared(column)))

    def measure(self, forward: Forward, column: str = IMPORTANCE) -> dict[int, dict[str, float]]:
        """Measure the images with explained rows.

        Args:
            forward: A forward whose needs include those of ``needs(column)``.
            column: Batch column with human importance.

        Returns:
            Number of the image -> the columns of the evaluate module "rrr".

        Raises:
            ValueError: Images with several labels each, for which "the" predicted class is not defined.
        """
        labels: Tensor = forward.column("labels")
        if forward.family.images and labels.dim() > 1:
            raise ValueError(
                f"column 'labels' has shape {tuple(labels.shape)}, and the metric {METRIC!r} is of one class per image: give "
                "class indices (images,), or leave it out of the metrics of a multi-label model."
            )
        found = right_reasons(forward, self.important(column), self.rest(column), self.compared(column))
        some = (forward.importance(column).flatten(1) > self.threshold).any(1)
        columns = {
            "important_accuracy": found["rrr_suff"],
            "unimportant_confidence": found["rrr_unc"],
            "invariance": found["same"].double().mean(0),
            "has_important": forward.of_images(some.float() * forward.annotated) > 0,
        }
        numbers = {name: values.detach().cpu().tolist() for name, values in columns.items()}
        return {image: {name: of[image] for name, of in numbers.items()} for image in sorted(set(forward.row))}


def right_reasons(forward: Forward, important: View, rest: View, compared: Sequence[View]) -> dict[str, Tensor]:
    """What the model answers on edited inputs, for every image of a forward.

    Args:
        forward: A forward whose needs include the logits of the views; labels are (images,) classes or (images, classes)
            scores in [0, 1].
        important: The view x_e.
        rest: The view x_u.
        compared: The views whose prediction is compared with that on x_e.

    Returns:
        "rrr_suff" (images,), the score of the answer on x_e; "rrr_unc" (images,), the largest softmax probability on x_u;
        "same" (len(compared), images) bool.
    """
    answers = _predicted(forward, important)
    return {
        "rrr_suff": answer_score(forward, answers),
        "rrr_unc": full_precision(forward.logits(rest)[0]).softmax(1).amax(1),
        "same": torch.stack([_predicted(forward, view) == answers for view in compared]),
    }


def answer_score(forward: Forward, predicted: Tensor) -> Tensor:
    """The score of predicted classes (images,): 0 or 1 for classes, what ``labels`` says for soft answers."""
    labels: Tensor = forward.column("labels")
    return labels.gather(1, predicted[:, None])[:, 0] if labels.dim() == 2 else labels == predicted


def _predicted(forward: Forward, view: View) -> Tensor:
    logits = forward.logits(view)
    return (logits if view == FULL else logits[0]).argmax(1)
