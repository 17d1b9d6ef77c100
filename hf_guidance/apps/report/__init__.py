"""Reports: what one or several trainings measured, as one HTML page."""

from hf_guidance.apps.report.page import report
from hf_guidance.apps.report.run import Run

__all__ = ["Run", "report"]
