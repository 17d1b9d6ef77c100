"""Softmax attention by fused kernels, with exact second derivatives."""

from hf_guidance.second_order.attention.fused import fused_attention, takes_whole_matrices
from hf_guidance.second_order.attention.mode import AttentionMode, carry_attention_mode
from hf_guidance.second_order.attention.multi_head import multi_head_attention

__all__ = ["AttentionMode", "carry_attention_mode", "fused_attention", "multi_head_attention", "takes_whole_matrices"]
