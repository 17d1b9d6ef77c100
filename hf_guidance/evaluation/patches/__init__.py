"""Patches: the images and places at which each channel of a layer answers most."""

from hf_guidance.evaluation.patches.search import top_patches
from hf_guidance.evaluation.patches.table import Patch, PatchTable

__all__ = ["Patch", "PatchTable", "top_patches"]
