"""Attribution methods, one a file. A new method is a file, a line here and a test."""

from hf_guidance.attributions.attribution import Attribution
from hf_guidance.attributions.grad_cam import GradCAM
from hf_guidance.attributions.gradient import Gradient
from hf_guidance.attributions.input_x_gradient import InputXGradient
from hf_guidance.attributions.integrated_gradients import IntegratedGradients

__all__ = ["Attribution", "GradCAM", "Gradient", "InputXGradient", "IntegratedGradients"]
