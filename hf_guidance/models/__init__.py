"""Models that transformers lacks, as its own kind: configuration, model and tokenizer load through the Auto classes."""

from transformers import AutoConfig, AutoModelForVisualQuestionAnswering

from hf_guidance.models.glove import load_glove
from hf_guidance.models.official_updn import load_official_weights
from hf_guidance.models.updn import UpDnForQuestionAnswering, UpDnOutput
from hf_guidance.models.updn_config import UpDnConfig
from hf_guidance.models.word_tokenizer import word_tokenizer

__all__ = [
    "UpDnConfig",
    "UpDnForQuestionAnswering",
    "UpDnOutput",
    "load_glove",
    "load_official_weights",
    "word_tokenizer",
]

AutoConfig.register(UpDnConfig.model_type, UpDnConfig, exist_ok=True)
AutoModelForVisualQuestionAnswering.register(UpDnConfig, UpDnForQuestionAnswering, exist_ok=True)
