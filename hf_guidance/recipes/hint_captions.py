"""HINT for captions, and its baseline on attention (arXiv 1902.03751)."""

from __future__ import annotations

from hf_guidance.attributions import AttentionWeights, Attribution, Gradient, WordLogit
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import CaptionLoss, RankingHINT
from hf_guidance.objectives.checks import is_weight


def hint_captions(task: float = 10.0, maps: str = "gradient", tokens: str = "first") -> Guidance:
    """``L = sum over visual words, and pairs of boxes in the wrong order, of (α_r' - α_r) + λ L_task`` (arXiv 1902.03751, eq. 4).

    α is the gradient of the logit of a visual word at the features of a box, summed over them; the order is that of the human
    importance, the mask of the word's category. Both sums are per image. The words are the explained rows of CaptionCollator.

    Args:
        task: λ. The paper has 10 for questions and names none for captions, so it must be chosen on validation; the paper
            fine-tunes a trained captioner.
        maps: "gradient", or "attention" for Attn. Align, the baseline that ranks attention.
        tokens: As in WordLogit, for words of several tokens; without effect on attention.

    Raises:
        ValueError: Another ``maps`` or ``tokens``, or a task that is no finite number >= 0.

    Example:
        >>> list(hint_captions(task=1.0))
        ['task', 'hint']
    """
    check_choice("maps", maps, ("gradient", "attention"))
    if not is_weight(task):
        raise ValueError(f"hint_captions(task={task!r}): give a finite number >= 0, as 10.0.")
    attribution: Attribution = AttentionWeights() if maps == "attention" else Gradient(target=WordLogit(tokens))
    return Guidance(task=Term(CaptionLoss(), task), hint=RankingHINT(attribution))
