"""Image classifiers and models of questions, made of options."""

from __future__ import annotations

import datasets
import pytest

from hf_guidance.data.images.class_names import class_names
from hf_guidance.models import (
    BcosImageProcessor,
    PythiaForQuestionAnswering,
    SANForQuestionAnswering,
    UpDnForQuestionAnswering,
)
from hf_guidance.models.shared.image_classifier import image_classifier
from hf_guidance.models.shared.question_answerer import question_answerer

SINGLE = "single_label_classification"
SMALL = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}


def test_an_image_classifier_from_scratch_and_again_from_its_folder(tmp_path):
    model, processor = image_classifier(None, ["a", "b", "c"], SINGLE, fields=SMALL, image_size=24)
    assert (model.config.id2label, model.config.problem_type) == ({0: "a", 1: "b", 2: "c"}, SINGLE)
    assert processor.size == {"height": 24, "width": 24}
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, same = image_classifier(str(tmp_path), ["x", "y"], SINGLE)
    assert (again.config.num_labels, again.config.id2label[1]) == (2, "y")
    assert same.size["height"] == 24
    assert isinstance(
        image_classifier(None, ["a", "b"], SINGLE, model_type="bcos_resnet", fields=SMALL)[1], BcosImageProcessor
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "resnett"}, "'resnett' is unknown to transformers; did you mean resnet"),
        ({"fields": {"hiden_sizes": [8]}}, "ResNetConfig has no field 'hiden_sizes'; did you mean hidden_sizes"),
    ],
)
def test_types_and_fields_that_do_not_exist_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        image_classifier(None, ["a", "b"], SINGLE, **options)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("updn", UpDnForQuestionAnswering), ("pythia", PythiaForQuestionAnswering), ("san", SANForQuestionAnswering)],
)
def test_a_model_of_questions(kind, cls):
    model = question_answerer(kind, {0: "no", 1: "yes"}, vocabulary=20, box_dims=6, fields={"hidden_size": 16})
    assert isinstance(model, cls)
    assert (model.config.num_labels, model.config.hidden_size, model.config.visual_feat_dim) == (2, 16, 6)
    with pytest.raises(ValueError, match="model_type='vilt' is unknown"):
        question_answerer("vilt", {0: "no"}, vocabulary=20, box_dims=6)


@pytest.mark.parametrize("column", ["label", "labels"])
def test_names_of_classes_are_those_of_the_labels(column):
    one = datasets.ClassLabel(names=["cat", "dog"])
    for feature, value in ((one, 1), (datasets.List(one), [0, 1])):
        rows = datasets.Dataset.from_dict({column: [value]}, datasets.Features({column: feature}))
        assert class_names(rows) == ["cat", "dog"]
    with pytest.raises(ValueError, match="split 'test' has no ClassLabel column"):
        class_names(datasets.Dataset.from_dict({column: [1]}), "test")
