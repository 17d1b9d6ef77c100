"""SCR: self-critical reasoning (arXiv 1905.09998)."""

from __future__ import annotations

from hf_guidance.common.checks import check_choice
from hf_guidance.guidance import Guidance, Term
from hf_guidance.objectives import AnswerLoss, ComparisonSCR, InfluenceSCR
from hf_guidance.recipes.settings import GT_GRADIENT, VARIANTS, threshold_of, weight_of


def scr(model: str = "updn", dataset: str = "clevr_xai", variant: str = "paper") -> Guidance:
    """Task, influence strengthening and the self-critical loss (arXiv 1905.09998).

    The weights are those of arXiv 2206.11212, appendix F: 1e-3 with UpDn, 1e-6 with LXMERT, for both losses. The released
    scripts have 1e-2 and 1e-6 for influence strengthening. The self-critical loss is zero in the released code, whatever its
    weight, and is left out with ``variant="official"``.

    Args:
        model: "updn" or "lxmert"; "pythia" and "san" have UpDn's weights, which are not tuned for them.
        dataset: "clevr_xai", "vqa_hat" or "gqa": decides the threshold; the official variant has none.
        variant: "paper" or "official".

    Raises:
        ValueError: Unknown model, data set or variant.
    """
    threshold = threshold_of(dataset)
    check_choice("variant", variant, VARIANTS)
    if variant == "official":
        weight = weight_of(model, 1e-2, 1e-6)
        influence = InfluenceSCR(GT_GRADIENT, variant=variant, slack=1e-7 / weight)
        return Guidance(task=AnswerLoss(), influence=Term(influence, weight, "sum"))
    weight = weight_of(model, 1e-3, 1e-6)
    return Guidance(
        task=AnswerLoss(),
        influence=Term(InfluenceSCR(GT_GRADIENT, threshold=threshold), weight),
        comparison=Term(ComparisonSCR(GT_GRADIENT, threshold=threshold), weight),
    )
