"""The page that asks people yes or no about images: ``hf-guidance annotate``, and what belongs to it.

``items`` is what is asked about, ``store`` where answers are kept, ``order``, ``sitting`` and ``desk`` who sees what next,
``drawer`` and ``page`` what is seen, ``agreement`` and ``export`` what becomes of the answers, ``space`` the same page on the
Hub. `hf_guidance.apps.trust_study` asks by the same page which of two models looks at the right thing. It needs the extra
``annotate``: ``pip install hf-guidance[annotate]``.
"""

from hf_guidance.apps.annotation.agreement import Agreement, agreement
from hf_guidance.apps.annotation.desk import Desk
from hf_guidance.apps.annotation.export import answer_table, export_answers, import_answers
from hf_guidance.apps.annotation.items.folder import AnnotationFolder
from hf_guidance.apps.annotation.items.item import Item, Items
from hf_guidance.apps.annotation.items.write_maps import write_annotation_folder
from hf_guidance.apps.annotation.items.write_patches import write_patch_folder
from hf_guidance.apps.annotation.space import write_space
from hf_guidance.apps.annotation.store import AnswerStore

__all__ = [
    "Agreement", "AnnotationFolder", "AnswerStore", "Desk", "Item", "Items", "agreement", "answer_table", "export_answers",
    "import_answers", "write_annotation_folder", "write_patch_folder", "write_space",
]  # fmt: skip
