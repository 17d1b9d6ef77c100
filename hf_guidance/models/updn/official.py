"""Checkpoints of the authors' UpDn."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from hf_guidance.models.updn.modeling import UpDnForQuestionAnswering

_PARAMETERS = {
    "w_emb.emb.weight": "words.weight",
    "q_emb.rnn.gru_cell.weight_ih.weight": "question_encoder.weight_ih_l0",
    "q_emb.rnn.gru_cell.weight_ih.bias": "question_encoder.bias_ih_l0",
    "q_emb.rnn.gru_cell.weight_hh.weight": "question_encoder.weight_hh_l0",
    "q_emb.rnn.gru_cell.weight_hh.bias": "question_encoder.bias_hh_l0",
}
_LAYERS = {
    "q_net.main.0": "question_gate",
    "gv_net.main.0": "box_gate",
    "gv_att.v_proj.main.0": "box_projection",
    "gv_att.q_proj.main.0": "question_projection",
    "gv_att.linear": "attention_score",
    "classifier.main.0": "classifier.0",
    "classifier.main.3": "classifier.3",
}
_PARTS = {"weight_g": "scale", "weight_v": "direction", "bias": "bias"}
OFFICIAL_NAMES: Mapping[str, str] = _PARAMETERS | {
    f"{theirs}.{part}": f"{ours}.{name}" for theirs, ours in _LAYERS.items() for part, name in _PARTS.items()
}


def load_official_weights(model: UpDnForQuestionAnswering, state: Mapping[str, Tensor]) -> None:
    """Load the parameters of the authors' "updn_ramen" model (arXiv 2206.11212) into this one.

    Their GRU cell ``h' = n + z (h - n)``, ``n = tanh(W x + b + r (U h + c))`` is that of torch, with the gates in
    the same order.

    Args:
        model: A model of the same sizes.
        state: Their state dict; names may begin with "module.", as DataParallel writes them.

    Raises:
        ValueError: A parameter is missing, unknown or of another shape.

    Example:
        >>> load_official_weights(model, torch.load("model.pth", weights_only=True))
    """
    given = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unknown = sorted(OFFICIAL_NAMES.keys() - given.keys()), sorted(given.keys() - OFFICIAL_NAMES.keys())
    if missing or unknown:
        raise ValueError(
            f"This is not a state dict of the authors' updn_ramen model: missing {missing}, unknown {unknown}; "
            "its weight normalisation is of the old form (weight_g, weight_v)."
        )
    parameters = dict(model.named_parameters())
    for theirs, ours in OFFICIAL_NAMES.items():
        if given[theirs].shape != parameters[ours].shape:
            raise ValueError(
                f"{theirs} has shape {tuple(given[theirs].shape)}, {ours} has {tuple(parameters[ours].shape)}; "
                "build the model with UpDnConfig of the checkpoint's sizes."
            )
    model.load_state_dict({ours: given[theirs] for theirs, ours in OFFICIAL_NAMES.items()})
