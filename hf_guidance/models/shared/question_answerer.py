"""A model that answers questions over boxes, UpDn, Pythia, SAN or LXMERT, of a size for small data or of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import LxmertConfig, LxmertForQuestionAnswering

from hf_guidance.common.checks import check_choice
from hf_guidance.models.pythia.configuration import PythiaConfig
from hf_guidance.models.pythia.modeling import PythiaForQuestionAnswering
from hf_guidance.models.san.configuration import SANConfig
from hf_guidance.models.san.modeling import SANForQuestionAnswering
from hf_guidance.models.updn.configuration import UpDnConfig
from hf_guidance.models.updn.modeling import UpDnForQuestionAnswering

SMALL: dict[str, dict[str, Any]] = {
    "updn": {"word_size": 64, "hidden_size": 128},
    "pythia": {"word_size": 64, "hidden_size": 64, "word_attention_size": 64, "box_encoding_size": None,
               "grid_feat_dim": None, "fusion_size": 128, "text_branch_size": 64, "image_branch_size": 128},
    "san": {"word_size": 64, "hidden_size": 128, "attention_size": 64},
    "lxmert": {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "l_layers": 2, "x_layers": 1,
               "r_layers": 1},
}  # fmt: skip
"""Model type to the fields of its configuration that suit shapes_vqa."""
KINDS: Mapping[str, tuple[Any, Any]] = {
    "updn": (UpDnForQuestionAnswering, UpDnConfig),
    "pythia": (PythiaForQuestionAnswering, PythiaConfig),
    "san": (SANForQuestionAnswering, SANConfig),
    "lxmert": (LxmertForQuestionAnswering, LxmertConfig),
}
"""Model type to the classes of the model and of its configuration."""


def question_answerer(
    model_type: str,
    answers: Mapping[int, str],
    *,
    vocabulary: int,
    box_dims: int,
    fields: Mapping[str, Any] | None = None,
    name_or_path: str | None = None,
) -> Any:
    """Make a model that chooses among answers, from scratch or from the weights of a checkpoint.

    Args:
        model_type: "updn", "pythia", "san" or "lxmert".
        answers: Class index to answer.
        vocabulary: Number of words that the tokenizer knows.
        box_dims: Features of one box.
        fields: Fields of the configuration that differ from ``SMALL``.
        name_or_path: Hub id or folder with weights to start from; what has another shape is made anew.

    Returns:
        The model.

    Raises:
        ValueError: An unknown model type.

    Example:
        >>> model = question_answerer("updn", {0: "no", 1: "yes"}, vocabulary=len(tokenizer), box_dims=2048)
    """
    check_choice("model_type", model_type, sorted(SMALL))
    given = SMALL[model_type] | dict(fields or {}) | {"vocab_size": vocabulary, "visual_feat_dim": box_dims}
    given |= {"id2label": dict(answers), "label2id": {answer: index for index, answer in answers.items()}}
    kind, config_class = KINDS[model_type]
    count = {"num_qa_labels": len(answers)} if config_class is LxmertConfig else {}
    config = config_class(**given, **count)
    if name_or_path is None:
        return kind(config)
    return kind.from_pretrained(name_or_path, config=config, ignore_mismatched_sizes=True)
