"""The import paths that people write: they stay, or changed once before the first release."""

from importlib import import_module

import pytest

NAMES = {
    "hf_guidance": "GuidedTrainer GuidanceArguments Guidance Term GuidanceCollator QuestionCollator AnswerVocabulary Family "
    "Forward Grounding ParetoCheckpoints RegionFeatures Sweep annotated_indices dataset_builder export_dataset family_of "
    "load_front load_representative metric_path recipes with_annotated_fraction explain explain_answer",
    "hf_guidance.attributions": "Gradient InputXGradient GradCAM IntegratedGradients ExpectedGradients LeaveOneOut KeepOneIn "
    "KernelSHAP AverageEffect AttentionWeights BcosContribution LabelLogit PredictedLogit SoftLabelLogits ContrastLogits "
    "LogProbabilities",
    "hf_guidance.objectives": "Energy L1 PPCE RightReasons Alignment InvarianceFI RankingHINT InfluenceSCR Sufficiency "
    "RandomSufficiency Uncertainty InvarianceDA GradMask ActDiff GRADIA QuadrantTaskLoss "
    "RelevantCRAYON IrrelevantCRAYON OffsetMax "
    "TaskLoss AnswerLoss ContrastiveSOrT AttentionSQuINT RoleAnswerLoss AdversarialAnswerLoss "
    "Identity Positive MaxAbs MinMax UnitNorm",
    "hf_guidance.views": "View FULL IMPORTANT UNIMPORTANT zeros negative_ones gaussian marginal shuffle shuffle_places "
    "Keep Needs",
    "hf_guidance.models": "load_pruned with_channel_mask "
    "BcosResNetForImageClassification XDNNResNetForImageClassification UpDnForQuestionAnswering "
    "caption_tokenizer PythiaForQuestionAnswering PythiaConfig SANForQuestionAnswering SANConfig",
    "hf_guidance.families": "Family RegionFamily family_of ARCHITECTURES",
    "hf_guidance.forward": "Forward Needs",
    "hf_guidance.guidance": "Guidance Term TrainerTask GUIDANCE_FILE smoothed",
    "hf_guidance.recipes": "hint visfis scr model_guidance random_supervision task_only rrr gradmask actdiff gradia "
    "bounding_box crayon sort sort_only_sub_questions squint SORT_WEIGHTS THRESHOLDS",
    "hf_guidance.second_order": "fast_double_backward first_derivative fixed_dynamic_weights",
    "hf_guidance.data": "boxes_to_mask box_importance_from_map box_importance_from_iou dilate_boxes resize_boxes "
    "AnswerVocabulary normalize_answer soft_score RegionFeatures changing_prior_split RandomCropAndFlip GuidanceCollator "
    "SavedMaps YesNoCollator Answers AnswerCounts read_answers answer_counts sampled_answers with_answers "
    "ExplainedRowsCollator JointTransform with_quadrants "
    "CaptionCollator VisualWords VisualWord WordImportance word_importance category_masks encode_mask "
    "QuestionCollator QuestionTripleCollator RowCollator dataset_builder known_datasets export_dataset annotated_indices "
    "with_annotated_fraction "
    "AnnotatedImageBuilder AnnotatedImageConfig InvalidAnnotation Report read_text read_json shards",
    "hf_guidance.data.images.rows": "annotated_image_features check_box class_mask verify_image ANY_CLASS",
    "hf_guidance.data.images.preparation": "prepared_boxes prepared_row PREPARATIONS",
    "hf_guidance.data.captions.rows": "caption_features caption_row CaptionConfig CaptionBuilder",
    "hf_guidance.data.questions.rows": "question_features question_row QuestionConfig QuestionBuilder",
    "hf_guidance.data.questions.vqa_files": "find_vqa_files VqaRecords vqa_row LAYOUT",
    "hf_guidance.apps.pipelines": "GuidedImageClassificationPipeline TASK",
    "hf_guidance.evaluation": "Grounding metric_path load_front load_representative explain explain_answer Explanation "
    "Explanations AnswerExplanation extract_maps explain_words WordExplanation word_figure",
    "hf_guidance.evaluation.analysis": "ParetoFront merged representative bootstrap_mean predict_ood top_box_iou",
    "hf_guidance.evaluation.scores": "explanation_scores explanation_metrics top_boxes",
    "hf_guidance.evaluation.classification": "classification_metrics mean_average_precision micro_f1 best_threshold",
    "hf_guidance.evaluation.figures": "attribution_figure map_over Panel panel_figure save_figure",
    "hf_guidance.evaluation.patches": "Patch PatchTable top_patches",
    "hf_guidance.training.pruning": "prune_channels pooled_features PooledFeatures fine_tune_head HeadTraining "
    "pruning_settings neuron_votes sampled_neurons read_neurons write_neurons",
    "hf_guidance.models.channel_mask": "ChannelMask attach_channel_mask load_pruned with_channel_mask",
    "hf_guidance.forward.maps": "resize_maps",
    "hf_guidance.families.grid": "tokens_to_grid",
}


@pytest.mark.parametrize("path", NAMES)
def test_every_name_is_found_at_its_path(path):
    module = import_module(path)
    assert [name for name in NAMES[path].split() if not hasattr(module, name)] == []
