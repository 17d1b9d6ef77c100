"""Pipelines of transformers; importing this room registers them."""

from transformers import AutoModelForImageClassification
from transformers.pipelines import PIPELINE_REGISTRY

from hf_guidance.apps.pipelines.guided_image_classification import TASK, GuidedImageClassificationPipeline

__all__ = ["TASK", "GuidedImageClassificationPipeline"]

if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=GuidedImageClassificationPipeline,
        pt_model=AutoModelForImageClassification,
        type="image",
    )
    # By this mark save_pretrained would copy the code beside the weights, and loading would ask for trust_remote_code.
    del GuidedImageClassificationPipeline._registered_impl
