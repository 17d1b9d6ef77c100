"""Cheaper double backward for operations on which that of autograd is slow."""

from hf_guidance.second_order.passes import first_derivative
from hf_guidance.second_order.substitution import fast_double_backward

__all__ = ["fast_double_backward", "first_derivative"]
