"""Guide vision models to be right for the right reasons: a transformers.Trainer with losses on attributions."""

from hf_guidance import recipes
from hf_guidance.data.annotated import annotated_indices, with_annotated_fraction
from hf_guidance.data.builders import dataset_builder
from hf_guidance.data.images.collator import GuidanceCollator
from hf_guidance.data.questions.answers import AnswerVocabulary
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.data.questions.regions import RegionFeatures
from hf_guidance.evaluation.analysis.pareto_record import load_front, load_representative
from hf_guidance.evaluation.grounding import Grounding
from hf_guidance.evaluation.metric_modules import metric_path
from hf_guidance.families import Family, family_of
from hf_guidance.forward import Forward
from hf_guidance.guidance import Guidance, Term
from hf_guidance.training.arguments import GuidanceArguments
from hf_guidance.training.pareto_checkpoints import ParetoCheckpoints
from hf_guidance.training.sweep import Sweep
from hf_guidance.training.trainer import GuidedTrainer

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
