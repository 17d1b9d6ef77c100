"""Forward: one step of one model, from the columns of a batch to logits, activations, gradients and attributions."""

from hf_guidance.forward.forward import Forward
from hf_guidance.forward.maps import full_precision, resize_maps
from hf_guidance.forward.rows import ExplainedRows
from hf_guidance.views import Needs

__all__ = ["ExplainedRows", "Forward", "Needs", "full_precision", "resize_maps"]
