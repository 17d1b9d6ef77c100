"""Recipes: functions that return the Guidance of a paper, one file per paper.

In the recipes of VisFIS and the methods it is compared with, ``variant="paper"`` takes the formulas of the papers and
``"official"`` those of the released code (zfying/visfis), whose reductions differ. The weights are those of the experiments,
for UpDn or LXMERT, converted to the formulas in use; Pythia and SAN, which those experiments lack, have UpDn's.
"""

from hf_guidance.data.columns import RANDOM_IMPORTANCE
from hf_guidance.recipes.adversarial import adversarial_regularization
from hf_guidance.recipes.baselines import chang2021, saliency_guided, simpson2019, singla2022
from hf_guidance.recipes.crayon import CRAYON_SETTINGS, CrayonSettings, crayon
from hf_guidance.recipes.crayon_baselines import (
    actdiff,
    bounding_box,
    crayon_baseline_arguments,
    gradia,
    gradmask,
    rrr,
)
from hf_guidance.recipes.hint import attention_align, hint
from hf_guidance.recipes.hint_captions import hint_captions
from hf_guidance.recipes.model_guidance import model_guidance
from hf_guidance.recipes.random_supervision import random_supervision
from hf_guidance.recipes.scr import scr
from hf_guidance.recipes.settings import THRESHOLDS
from hf_guidance.recipes.sort import SORT_WEIGHTS, SortWeights, sort, sort_only_sub_questions, squint
from hf_guidance.recipes.visfis import (
    alignment,
    invariance_da,
    invariance_fi,
    random_sufficiency,
    sufficiency,
    task_only,
    uncertainty,
    visfis,
)

__all__ = [
    "CRAYON_SETTINGS",
    "RANDOM_IMPORTANCE",
    "SORT_WEIGHTS",
    "THRESHOLDS",
    "CrayonSettings",
    "SortWeights",
    "actdiff",
    "adversarial_regularization",
    "alignment",
    "attention_align",
    "bounding_box",
    "chang2021",
    "crayon",
    "crayon_baseline_arguments",
    "gradia",
    "gradmask",
    "hint",
    "hint_captions",
    "invariance_da",
    "invariance_fi",
    "model_guidance",
    "random_sufficiency",
    "random_supervision",
    "rrr",
    "saliency_guided",
    "scr",
    "simpson2019",
    "singla2022",
    "sort",
    "sort_only_sub_questions",
    "squint",
    "sufficiency",
    "task_only",
    "uncertainty",
    "visfis",
]  # fmt: skip
