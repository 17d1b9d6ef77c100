"""Adversarial regularization: the question alone shall not answer (arXiv 1810.03649)."""

from __future__ import annotations

from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AdversarialAnswerLoss


def adversarial_regularization(
    adversary_weight: float = 0.1, entropy_weight: float = 0.0, form: str = "softmax"
) -> Guidance:
    """The answer loss against a classifier of the question alone, and the gain of confidence by the image (arXiv 1810.03649).

    ``CE(f(v, q), y) - λ_Q CE(f_Q(q), y) + λ_H (H(f(v, q)) - H(f_Q(q)))``: AdversarialAnswerLoss, which says whose gradients
    go where, as the task. No annotations are read. The model needs the adversary f_Q: UpDn, Pythia or SAN made with
    ``question_adversary_size`` in its config.

    Args:
        adversary_weight: λ_Q >= 0. Both defaults are ours, chosen on shapes_vqa: see AdversarialAnswerLoss.
        entropy_weight: λ_H >= 0. The default 0 leaves the adversary alone; the paper has both terms.
        form: "softmax", or "sigmoid": binary cross-entropy with soft scores, summed over answers.

    Raises:
        ValueError: A weight that is no finite number >= 0, or an unknown form.

    Example:
        >>> from hf_guidance import recipes
        >>> from hf_guidance.models import UpDnConfig
        >>> guidance = recipes.adversarial_regularization(adversary_weight=0.05)
        >>> config = UpDnConfig(vocab_size=101, num_labels=28, question_adversary_size=64)
    """
    return Guidance(task=AdversarialAnswerLoss(form, adversary_weight=adversary_weight, entropy_weight=entropy_weight))
