"""Models that transformers lacks, as its own kind: configuration, model and tokenizer load through the Auto classes."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForVisualQuestionAnswering,
)

from hf_guidance.models.bcos_conv import BcosConv2d
from hf_guidance.models.bcos_image_processor import BcosImageProcessor
from hf_guidance.models.bcos_linear import BcosLinear
from hf_guidance.models.bcos_resnet import BcosResNetForImageClassification
from hf_guidance.models.bcos_resnet_config import BcosResNetConfig
from hf_guidance.models.glove import load_glove
from hf_guidance.models.official_bcos import load_official_bcos
from hf_guidance.models.official_updn import load_official_weights
from hf_guidance.models.official_xdnn import load_official_xdnn
from hf_guidance.models.uncentered_batch_norm import UncenteredBatchNorm2d
from hf_guidance.models.updn import UpDnForQuestionAnswering, UpDnOutput
from hf_guidance.models.updn_config import UpDnConfig
from hf_guidance.models.word_tokenizer import word_tokenizer
from hf_guidance.models.xdnn_image_processor import XDNNImageProcessor
from hf_guidance.models.xdnn_resnet import XDNNResNetForImageClassification
from hf_guidance.models.xdnn_resnet_config import XDNNResNetConfig

__all__ = [
    "BcosConv2d",
    "BcosImageProcessor",
    "BcosLinear",
    "BcosResNetConfig",
    "BcosResNetForImageClassification",
    "UncenteredBatchNorm2d",
    "UpDnConfig",
    "UpDnForQuestionAnswering",
    "UpDnOutput",
    "XDNNImageProcessor",
    "XDNNResNetConfig",
    "XDNNResNetForImageClassification",
    "load_glove",
    "load_official_bcos",
    "load_official_weights",
    "load_official_xdnn",
    "word_tokenizer",
]

AutoConfig.register(UpDnConfig.model_type, UpDnConfig, exist_ok=True)
AutoModelForVisualQuestionAnswering.register(UpDnConfig, UpDnForQuestionAnswering, exist_ok=True)
AutoConfig.register(XDNNResNetConfig.model_type, XDNNResNetConfig, exist_ok=True)
AutoModelForImageClassification.register(XDNNResNetConfig, XDNNResNetForImageClassification, exist_ok=True)
AutoImageProcessor.register(
    XDNNResNetConfig, image_processor_classes={"torchvision": XDNNImageProcessor}, exist_ok=True
)
AutoConfig.register(BcosResNetConfig.model_type, BcosResNetConfig, exist_ok=True)
AutoModelForImageClassification.register(BcosResNetConfig, BcosResNetForImageClassification, exist_ok=True)
AutoImageProcessor.register(
    BcosResNetConfig, image_processor_classes={"torchvision": BcosImageProcessor}, exist_ok=True
)
