"""Data: what a row is, and how rows become a batch. Images, questions and captions have a folder each;
what they share lies here."""

from hf_guidance.data.annotated import annotated_indices, check_annotated, with_annotated_fraction
from hf_guidance.data.boxes import (
    box_importance_from_iou,
    box_importance_from_map,
    boxes_to_mask,
    dilate_boxes,
    resize_boxes,
)
from hf_guidance.data.builder_base import (
    RECORD_ERRORS,
    AnnotatedImageBuilder,
    AnnotatedImageConfig,
    InvalidAnnotation,
    Report,
    id_text,
    read_json,
    read_text,
    shards,
)
from hf_guidance.data.builders import dataset_builder, known_datasets
from hf_guidance.data.captions.collator import CaptionCollator
from hf_guidance.data.captions.importance import WordImportance, word_importance
from hf_guidance.data.captions.segmentations import category_masks, encode_mask
from hf_guidance.data.captions.visual_words import VisualWord, VisualWords
from hf_guidance.data.collator import RowCollator
from hf_guidance.data.default_collator import default_collator
from hf_guidance.data.explained_rows_collator import ExplainedRowsCollator
from hf_guidance.data.export import export_dataset
from hf_guidance.data.images.augmentation import RandomCropAndFlip
from hf_guidance.data.images.class_map import mapped_classes, read_class_map
from hf_guidance.data.images.collator import GuidanceCollator
from hf_guidance.data.images.joint_transform import JointTransform
from hf_guidance.data.images.object_labels import with_object_labels
from hf_guidance.data.images.quadrants import with_quadrants
from hf_guidance.data.images.saved_maps import SavedMaps
from hf_guidance.data.images.yes_no import (
    AnswerCounts,
    Answers,
    answer_counts,
    read_answers,
    sampled_answers,
    with_answers,
    write_answers,
)
from hf_guidance.data.images.yes_no_collator import YesNoCollator
from hf_guidance.data.questions.answers import AnswerVocabulary, Coverage, normalize_answer, soft_score
from hf_guidance.data.questions.collator import QuestionCollator
from hf_guidance.data.questions.mixture import MixedQuestions
from hf_guidance.data.questions.pairing import QuestionTriples, every_question
from hf_guidance.data.questions.prior_shift import PriorShift, changing_prior_split, id_sizes, prior_groups
from hf_guidance.data.questions.regions import RegionFeatures, checked_objects
from hf_guidance.data.questions.triples import QuestionTripleCollator
from hf_guidance.data.splits import load_splits

__all__ = [
    "RECORD_ERRORS",
    "AnnotatedImageBuilder",
    "AnnotatedImageConfig",
    "AnswerCounts",
    "AnswerVocabulary",
    "Answers",
    "CaptionCollator",
    "Coverage",
    "ExplainedRowsCollator",
    "GuidanceCollator",
    "InvalidAnnotation",
    "JointTransform",
    "MixedQuestions",
    "PriorShift",
    "QuestionCollator",
    "QuestionTripleCollator",
    "QuestionTriples",
    "RandomCropAndFlip",
    "RegionFeatures",
    "Report",
    "RowCollator",
    "SavedMaps",
    "VisualWord",
    "VisualWords",
    "WordImportance",
    "YesNoCollator",
    "annotated_indices",
    "answer_counts",
    "box_importance_from_iou",
    "box_importance_from_map",
    "boxes_to_mask",
    "category_masks",
    "changing_prior_split",
    "check_annotated",
    "checked_objects",
    "dataset_builder",
    "default_collator",
    "dilate_boxes",
    "encode_mask",
    "every_question",
    "export_dataset",
    "id_sizes",
    "id_text",
    "known_datasets",
    "load_splits",
    "mapped_classes",
    "normalize_answer",
    "prior_groups",
    "read_answers",
    "read_class_map",
    "read_json",
    "read_text",
    "resize_boxes",
    "sampled_answers",
    "shards",
    "soft_score",
    "with_annotated_fraction",
    "with_answers",
    "with_object_labels",
    "with_quadrants",
    "word_importance",
    "write_answers",
]
