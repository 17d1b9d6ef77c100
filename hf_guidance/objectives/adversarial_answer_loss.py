"""AdversarialAnswerLoss: the task of a model that shall not answer from the question alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_guidance.forward import Forward
from hf_guidance.forward.maps import full_precision
from hf_guidance.objectives.answer_loss import AnswerLoss
from hf_guidance.objectives.answers import answer_entropy, prediction_entropy, where_counted
from hf_guidance.objectives.checks import is_weight
from hf_guidance.objectives.labels import checked_labels


@dataclass(frozen=True)
class AdversarialAnswerLoss(AnswerLoss):
    """``L = CE(f(v, q), y) - λ_Q CE(f_Q(q), y) + λ_H (H(f(v, q)) - H(f_Q(q)))``, per image, while f_Q minimises its CE.

    f is the model and f_Q an adversary: a classifier on the same encoding of the question, which sees no image. It learns to
    answer; the encoding is to leave it nothing to answer by, and the image is to make the model surer than the question alone
    does. CE is that of AnswerLoss, H the entropy of the answers.

    Gradients: the adversary's own weights get that of ``+ CE(f_Q(q), y)``, with weight one, and no other. The encoder of the
    question gets that of L, in which the same CE is reversed by λ_Q, and all other parts of the model get that of L, too. The
    value is L: the adversary learns by an addend that is 0.

    Args:
        form: As in AnswerLoss. With "sigmoid" H is the sum of the entropies of the answers, each being right or wrong.
        threshold: As in AnswerLoss; of the first addend alone.
        importance: As in AnswerLoss.
        adversary_weight: λ_Q >= 0.
        entropy_weight: λ_H >= 0. The default 0 leaves the adversary alone; the paper has both terms.

    Raises:
        ValueError: As in AnswerLoss, or weights that are not finite numbers >= 0; on call, a model without an adversary.

    Note:
        Of the paper only the abstract and the introduction were at hand. That the adversary is trained against the encoding
        by a reversed gradient, and that the gain of confidence by the image is maximised, is theirs. That the gradient of H
        does not reach the adversary's weights, that its CE has weight one whatever λ_Q, H for "sigmoid" and the adversary's
        layers are our reading. The default weights are ours, too: of λ_Q 0.01, 0.1 and 1, with λ_H 0 or the same, the best on
        dev of one seed of shapes_vqa for UpDn and for Pythia; at 1 UpDn fell from 72.2 to 55.0 % of
        dev (docs/questions.md). Both terms work against the answers of the question, so choose them on validation.

    Columns:
        labels: (images, classes) scores in [0, 1], or (images,) integers in [0, classes); the answers.
        importance: optional, (rows, height, width) or (rows, objects) in [0, 1], any real dtype; read only where a threshold
            is given.

    When to use:
        The term "task" of UpDn, Pythia or SAN made with ``question_adversary_size``, where answers follow from the words of
        the question in training and not in use (VQA-CP). It needs no annotations and counts every image. On shapes_vqa it was
        within the noise of AnswerLoss out of distribution, for UpDn and for Pythia, and with the difference of entropies Pythia
        was worse than with the adversary alone (docs/questions.md). Prefer AnswerLoss otherwise.

    Reference:
        Ramakrishnan, Agrawal and Lee, "Overcoming Language Priors in Visual Question Answering with Adversarial
        Regularization", NeurIPS 2018, arXiv 1810.03649.

    Example:
        >>> import torch
        >>> from hf_guidance import Guidance
        >>> from hf_guidance.models import UpDnConfig
        >>> from hf_guidance.objectives import AdversarialAnswerLoss
        >>> config = UpDnConfig(vocab_size=101, num_labels=28, question_adversary_size=64)
        >>> guidance = Guidance(task=AdversarialAnswerLoss(adversary_weight=0.05))
        >>> sure, unsure = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 0.0]])  # logits of f and of f_Q
        >>> AdversarialAnswerLoss.entropies(sure, unsure)
        tensor([-0.6931])
    """

    adversary_weight: float = 0.1
    entropy_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("adversary_weight", "entropy_weight"):
            if not is_weight(getattr(self, name)):
                raise ValueError(
                    f"AdversarialAnswerLoss({name}={getattr(self, name)!r}): give a finite number >= 0, as 0.1."
                )

    def __call__(self, forward: Forward) -> Tensor:
        """The loss of every image, (images,)."""
        values = super().__call__(forward)
        logits = full_precision(forward.logits())
        labels = checked_labels(forward.column("labels"), logits)
        learning, fixed = (_of_adversary(forward, name) for name in ("question_logits", "question_logits_fixed"))
        own, reversed_ = (answer_entropy(z, labels, self.form) for z in (learning, fixed))
        entropies = self.entropies(logits, fixed, form=self.form)
        if self.form == "softmax" and labels.dim() == 2:  # without a scored answer there is none to learn
            scored = (labels > 0).any(1)
            own, reversed_, entropies = (where_counted(scored, value) for value in (own, reversed_, entropies))
        values = values - self.adversary_weight * reversed_ + (own - own.detach())
        return values + self.entropy_weight * entropies

    @staticmethod
    def entropies(logits: Tensor, question_logits: Tensor, *, form: str = "softmax") -> Tensor:
        """``H(f(v, q)) - H(f_Q(q))``: (images, classes) each, to (images,)."""
        return prediction_entropy(logits, form) - prediction_entropy(question_logits, form)


def _of_adversary(forward: Forward, name: str) -> Tensor:
    found = forward.output(name)
    if found is None:
        raise ValueError(
            f"the model puts out no {name!r}: it has no adversary that answers from the question alone. Build UpDn, Pythia or "
            "SAN with question_adversary_size=64 in its config, or take AnswerLoss for the task."
        )
    return full_precision(found)
