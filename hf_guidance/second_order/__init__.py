"""Cheaper double backward for the operations whose generic one is slow, and weights that count as constants once."""

from hf_guidance.second_order.dynamic_weights import dynamic_weights_fixed, fixed_dynamic_weights
from hf_guidance.second_order.fusing import fused_kernels
from hf_guidance.second_order.one_layout import norms_in_one_layout
from hf_guidance.second_order.passes import first_derivative
from hf_guidance.second_order.substitution import fast_double_backward

__all__ = [
    "dynamic_weights_fixed",
    "fast_double_backward",
    "first_derivative",
    "fixed_dynamic_weights",
    "fused_kernels",
    "norms_in_one_layout",
]
