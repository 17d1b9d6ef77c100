"""Guidance: the weighted terms of a training loss, and guidance.json."""

from hf_guidance.guidance.guidance import GUIDANCE_FILE, Guidance, Term, smoothed
from hf_guidance.guidance.importance_columns import importance_columns, with_importance
from hf_guidance.guidance.serialization import from_plain, known_names, to_plain

__all__ = [
    "GUIDANCE_FILE",
    "Guidance",
    "Term",
    "from_plain",
    "importance_columns",
    "known_names",
    "smoothed",
    "to_plain",
    "with_importance",
]
