"""Explaining: where a model looks in images, and which boxes an answer comes from, outside of training."""

from hf_guidance.evaluation.explaining.answers import AnswerExplanation, explain_answer
from hf_guidance.evaluation.explaining.explanations import Explanation, Explanations
from hf_guidance.evaluation.explaining.images import explain
from hf_guidance.evaluation.explaining.words import WordExplanation, explain_words

__all__ = [
    "AnswerExplanation",
    "Explanation",
    "Explanations",
    "WordExplanation",
    "explain",
    "explain_answer",
    "explain_words",
]
