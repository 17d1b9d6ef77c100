"""HINT and its baseline on attention (arXiv 1902.03751)."""

from __future__ import annotations

from hf_guidance.attributions import AttentionWeights, Gradient
from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AnswerLoss, RankingHINT
from hf_guidance.recipes.settings import GT_GRADIENT, MODELS, VARIANTS, weight_of


def hint(model: str = "updn", variant: str = "paper") -> Guidance:
    """Task and ranking loss on plain gradients: HINT (arXiv 1902.03751, eq. 4).

    ``variant="original"`` has the weights of HINT itself, 1 for the ranking and λ = 10 for the task (section 5), to fine-tune
    a trained UpDn. The other variants train from the start, as in the comparison of arXiv 2206.11212: the ranking has weight
    1e-3 with UpDn and 1e-6 with LXMERT in the paper (appendix F), 1e-2 and 1e-6 in the released scripts.

    Args:
        model: "updn" or "lxmert"; HINT's paper has UpDn only. "pythia" and "san" have UpDn's weights, which are not tuned
            for them.
        variant: "paper", "official" or "original".

    Raises:
        ValueError: Unknown model or variant, or "original" with LXMERT.
    """
    check_choice("model", model, MODELS)
    check_choice("variant", variant, (*VARIANTS, "original"))
    if variant == "original":
        check_choice("model", model, tuple(name for name in MODELS if name != "lxmert"))
        return Guidance(task=Term(AnswerLoss(), 10.0), hint=RankingHINT(Gradient()))
    if variant == "official":
        weight = weight_of(model, 1e-2, 1e-6)
        return Guidance(task=AnswerLoss(), hint=Term(RankingHINT(GT_GRADIENT, variant=variant), weight))
    return Guidance(task=AnswerLoss(), hint=Term(RankingHINT(GT_GRADIENT), weight_of(model, 1e-3, 1e-6)))


def attention_align() -> Guidance:
    """Attn. Align., HINT's baseline: the original HINT with UpDn's attention as attribution (arXiv 1902.03751, sec. 5)."""
    return Guidance(task=Term(AnswerLoss(), 10.0), hint=RankingHINT(AttentionWeights()))
