"""Makes a model of this library known to transformers' Auto classes, and lets its source travel with its weights."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoImageProcessor

from hf_guidance.models.shared.remote_code import Code, carry


def register(config: Any, auto_model: Any, model: type, processor: type | None = None) -> None:
    """Register the classes of one model type.

    Args:
        config: The configuration, a subclass of CarriesCode.
        auto_model: The Auto class that loads the model, such as AutoModelForImageClassification.
        model: The model.
        processor: Its image processor, a subclass of CarriesCode; None where it has none of its own.
    """
    kind = config.model_type
    AutoConfig.register(kind, config, exist_ok=True)
    auto_model.register(config, model, exist_ok=True)
    auto_map = {"AutoConfig": config.__name__, auto_model.__name__: model.__name__}
    carry(config, Code(f"modeling_{kind}", (config.__module__, model.__module__), auto_map))
    if processor is not None:
        AutoImageProcessor.register(config, image_processor_classes={"torchvision": processor}, exist_ok=True)
        auto_map = {"AutoImageProcessor": processor.__name__}
        carry(processor, Code(f"image_processing_{kind}", (processor.__module__,), auto_map))
