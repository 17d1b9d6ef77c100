"""HINT for captions, and its baseline on attention (arXiv 1902.03751)."""

from __future__ import annotations

from hf_guidance.attributions import AttentionWeights, Attribution, Gradient, WordLogit
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import CaptionLoss, RankingHINT
from hf_guidance.objectives.checks import is_weight


def hint_captions(task: float = 10.0, tokens: str = "first", attention: bool = False) -> Guidance:
    """``L = sum of (α_r' - α_r) over visual words and misranked pairs of boxes, + λ L_task`` (arXiv 1902.03751, eq. 4).

    α is the gradient of the logit of a visual word at the features of a box, summed over them; the order is that of the human
    importance, the mask of the word's category. Both sums are per image. The words are the explained rows of CaptionCollator.

    Args:
        task: λ. The paper has 10 for questions and names none for captions, so it must be chosen on validation; the paper
            fine-tunes a trained captioner.
        tokens: As in WordLogit, for words of several tokens; without effect on attention.
        attention: Whether the attention is ranked instead of the gradient: Attn. Align, the baseline.

    Raises:
        ValueError: Another ``tokens``, or a task that is no finite number >= 0.

    Example:
        >>> list(hint_captions(task=1.0))
        ['task', 'hint']
    """
    if not is_weight(task):
        raise ValueError(f"hint_captions(task={task!r}): give a finite number >= 0, as 10.0.")
    attribution: Attribution = AttentionWeights() if attention else Gradient(target=WordLogit(tokens))
    return Guidance(task=Term(CaptionLoss(), task), hint=RankingHINT(attribution))
