"""Guide vision models to be right for the right reasons: a transformers.Trainer with losses on attributions."""

from hf_guidance import recipes
from hf_guidance.annotated_fraction import annotated_indices, with_annotated_fraction
from hf_guidance.answers import AnswerVocabulary
from hf_guidance.arguments import GuidanceArguments
from hf_guidance.collator import GuidanceCollator
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward
from hf_guidance.grounding import Grounding
from hf_guidance.guidance import Guidance, Term
from hf_guidance.pareto_checkpoints import ParetoCheckpoints
from hf_guidance.pareto_record import load_front, load_representative
from hf_guidance.question_collator import QuestionCollator
from hf_guidance.regions import RegionFeatures
from hf_guidance.resources import dataset_builder, metric_path
from hf_guidance.sweep import Sweep
from hf_guidance.trainer import GuidedTrainer

__all__ = [
    "AnswerVocabulary",
    "Family",
    "Forward",
    "Grounding",
    "Guidance",
    "GuidanceArguments",
    "GuidanceCollator",
    "GuidedTrainer",
    "ParetoCheckpoints",
    "QuestionCollator",
    "RegionFeatures",
    "Sweep",
    "Term",
    "annotated_indices",
    "dataset_builder",
    "family_of",
    "load_front",
    "load_representative",
    "metric_path",
    "recipes",
    "with_annotated_fraction",
]
