"""Which of two models looks at the right thing: ``hf-guidance trust-study``, by the page of `hf_guidance.apps.annotation`.

``comparison_item`` and ``folder`` are what is asked about, ``write`` makes such a folder of any maps and ``captions`` of two
captioners, ``export`` is what becomes of the ratings. Source: R. Selvaraju et al., arXiv 1902.03751, section 7.
It needs the extra ``annotate``.
"""

from hf_guidance.apps.trust_study.captions import write_caption_study
from hf_guidance.apps.trust_study.export import ExportedRatings, export_ratings, rating_table, study_preference
from hf_guidance.apps.trust_study.folder import ComparisonFolder
from hf_guidance.apps.trust_study.write import write_comparison_folder

__all__ = [
    "ComparisonFolder", "ExportedRatings", "export_ratings", "rating_table", "study_preference", "write_caption_study",
    "write_comparison_folder",
]  # fmt: skip
