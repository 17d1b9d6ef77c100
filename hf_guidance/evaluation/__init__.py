"""Evaluation: what is measured of models and their maps.

``scores`` runs a model on edited inputs, ``analysis`` reads numbers only, ``classification`` has F1 and mAP. These three load
scikit-learn or scipy, or are for few, so they are imported by their own names.
"""

from hf_guidance.evaluation.analysis.pareto_record import load_front, load_representative
from hf_guidance.evaluation.grounding import Grounding, default_grounding
from hf_guidance.evaluation.metric_modules import metric_path

__all__ = ["Grounding", "default_grounding", "load_front", "load_representative", "metric_path"]
