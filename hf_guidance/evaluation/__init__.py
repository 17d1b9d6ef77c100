"""Evaluation: metrics of models and of their attributions.

``scores`` runs a model on edited inputs, ``analysis`` works on numbers only, ``classification`` has F1 and mAP. Import their
names from these three modules, not from here: they load scikit-learn or scipy, or few users need them.
"""

from hf_guidance.evaluation.analysis.pareto_record import load_front, load_representative
from hf_guidance.evaluation.captions import generate_captions
from hf_guidance.evaluation.explaining import (
    AnswerExplanation,
    Explanation,
    Explanations,
    WordExplanation,
    explain,
    explain_answer,
    explain_words,
)
from hf_guidance.evaluation.export_metric import export_metric
from hf_guidance.evaluation.extract_maps import extract_maps
from hf_guidance.evaluation.grounding import Grounding, default_grounding
from hf_guidance.evaluation.metric_modules import metric_path
from hf_guidance.evaluation.question_consistency import QuestionConsistency
from hf_guidance.evaluation.right_reasons import RRR
from hf_guidance.evaluation.word_figure import word_figure

__all__ = [
    "RRR",
    "AnswerExplanation",
    "Explanation",
    "Explanations",
    "Grounding",
    "QuestionConsistency",
    "WordExplanation",
    "default_grounding",
    "explain",
    "explain_answer",
    "explain_words",
    "export_metric",
    "extract_maps",
    "generate_captions",
    "load_front",
    "load_representative",
    "metric_path",
    "word_figure",
]
