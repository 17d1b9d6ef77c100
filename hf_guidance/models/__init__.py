"""Models that transformers lacks; configuration, model, tokenizer and image processor load through the Auto classes."""

from transformers import (
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForVisualQuestionAnswering,
)

from hf_guidance.models.bcos_resnet.configuration import BcosResNetConfig
from hf_guidance.models.bcos_resnet.conv import BcosConv2d
from hf_guidance.models.bcos_resnet.image_processing import BcosImageProcessor
from hf_guidance.models.bcos_resnet.linear import BcosLinear
from hf_guidance.models.bcos_resnet.modeling import BcosResNetForImageClassification
from hf_guidance.models.bcos_resnet.official import load_official_bcos
from hf_guidance.models.bcos_resnet.uncentered_batch_norm import UncenteredBatchNorm2d
from hf_guidance.models.channel_mask.loading import load_pruned, with_channel_mask
from hf_guidance.models.pythia.configuration import PythiaConfig
from hf_guidance.models.pythia.modeling import PythiaForQuestionAnswering, PythiaOutput
from hf_guidance.models.san.configuration import SANConfig
from hf_guidance.models.san.modeling import SANForQuestionAnswering, SANOutput
from hf_guidance.models.shared.efficientnet_lite0 import pretrained_efficientnet_lite0
from hf_guidance.models.shared.registration import register
from hf_guidance.models.updn.configuration import UpDnConfig
from hf_guidance.models.updn.glove import load_glove
from hf_guidance.models.updn.modeling import UpDnForQuestionAnswering, UpDnOutput
from hf_guidance.models.updn.official import load_official_weights
from hf_guidance.models.updn.tokenization import word_tokenizer
from hf_guidance.models.updn_captioner.configuration import UpDnCaptionerConfig
from hf_guidance.models.updn_captioner.modeling import UpDnCaptionerOutput, UpDnForImageCaptioning
from hf_guidance.models.updn_captioner.tokenization import caption_tokenizer
from hf_guidance.models.xdnn_resnet.configuration import XDNNResNetConfig
from hf_guidance.models.xdnn_resnet.image_processing import XDNNImageProcessor
from hf_guidance.models.xdnn_resnet.modeling import XDNNResNetForImageClassification
from hf_guidance.models.xdnn_resnet.official import load_official_xdnn

__all__ = [
    "BcosConv2d",
    "BcosImageProcessor",
    "BcosLinear",
    "BcosResNetConfig",
    "BcosResNetForImageClassification",
    "PythiaConfig",
    "PythiaForQuestionAnswering",
    "PythiaOutput",
    "SANConfig",
    "SANForQuestionAnswering",
    "SANOutput",
    "UncenteredBatchNorm2d",
    "UpDnCaptionerConfig",
    "UpDnCaptionerOutput",
    "UpDnConfig",
    "UpDnForImageCaptioning",
    "UpDnForQuestionAnswering",
    "UpDnOutput",
    "XDNNImageProcessor",
    "XDNNResNetConfig",
    "XDNNResNetForImageClassification",
    "caption_tokenizer",
    "load_glove",
    "load_official_bcos",
    "load_official_weights",
    "load_official_xdnn",
    "load_pruned",
    "pretrained_efficientnet_lite0",
    "with_channel_mask",
    "word_tokenizer",
]

register(UpDnConfig, AutoModelForVisualQuestionAnswering, UpDnForQuestionAnswering)
register(UpDnCaptionerConfig, AutoModelForImageTextToText, UpDnForImageCaptioning)
register(PythiaConfig, AutoModelForVisualQuestionAnswering, PythiaForQuestionAnswering)
register(SANConfig, AutoModelForVisualQuestionAnswering, SANForQuestionAnswering)
register(XDNNResNetConfig, AutoModelForImageClassification, XDNNResNetForImageClassification, XDNNImageProcessor)
register(BcosResNetConfig, AutoModelForImageClassification, BcosResNetForImageClassification, BcosImageProcessor)
