"""Resume and load_best_model_at_end give back every weight, for every family; what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_questions import random_importance, rows
from tiny import BUILDERS, CLASSES, SIZE
from torch import nn
from transformers import LxmertConfig, LxmertForQuestionAnswering, TrainerCallback

from hf_guidance import AnswerVocabulary, Guidance, GuidanceArguments, GuidedTrainer, QuestionCollator, Term
from hf_guidance.attributions import Gradient, InputXGradient, SoftLabelLogits
from hf_guidance.models import (
    PythiaConfig,
    PythiaForQuestionAnswering,
    SANConfig,
    SANForQuestionAnswering,
    UpDnConfig,
    UpDnForQuestionAnswering,
    word_tokenizer,
)
from hf_guidance.objectives import Alignment, AnswerLoss, Energy
from hf_guidance.training.checkpoint_weights import load_weights

GUIDANCE = Guidance(energy=Term(Energy(InputXGradient("final")), 1.0, "rows"))
SETTINGS = {
    "per_device_train_batch_size": 2, "max_steps": 4, "save_strategy": "steps", "save_steps": 2, "report_to": "none",
    "learning_rate": 0.01, "use_cpu": True, "disable_tqdm": True, "dataloader_pin_memory": False, "seed": 3,
    "eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True, "metric_for_best_model": "eval_early",
    "greater_is_better": True,
}  # fmt: skip


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


class Weights(TrainerCallback):
    """The weights after each step; as compute_metrics it says that the first evaluation is the best."""

    def __init__(self):
        self.after, self.evaluations = {}, 0

    def on_step_end(self, args, state_, control, model=None, **kwargs):
        self.after[state_.global_step] = state(model)

    def __call__(self, prediction):
        self.evaluations += 1
        return {"early": -self.evaluations}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def check_resume_and_best(make, folder):
    """Steps 1 to 4 are steps 1 and 2, then 3 and 4 of a new process; the best model, of step 2, is the one at the end."""
    whole, resumed = Weights(), Weights()
    trainer = make(whole)
    trainer.train()
    assert any(not torch.equal(one, whole.after[4][name]) for name, one in whole.after[2].items())
    assert_equal(state(trainer.model), whole.after[2])
    again = make(resumed)
    again.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    assert_equal(resumed.after[4], whole.after[4])
    assert_equal(state(again.model), whole.after[2])


def image_rows(count=8):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "pixel_values": torch.randn(3, *SIZE, generator=generator),
            "label": index % CLASSES,
            "objects": [{"bbox": [0.0, 0.0, 24.0, 24.0], "category": index % CLASSES}],
        }
        for index in range(count)
    ]


@pytest.mark.parametrize("name", BUILDERS)
def test_images_resume_and_best_model(name, tmp_path):
    def make(watch):
        torch.manual_seed(0)
        return GuidedTrainer(
            BUILDERS[name](), GuidanceArguments(str(tmp_path), **SETTINGS), train_dataset=image_rows(),
            eval_dataset=image_rows(2), guidance=GUIDANCE, callbacks=[watch], compute_metrics=watch,
        )  # fmt: skip

    check_resume_and_best(make, tmp_path)


def question_model(name, answers):
    torch.manual_seed(0)
    if name == "updn":
        return UpDnForQuestionAnswering(
            UpDnConfig(vocab_size=12, word_size=4, hidden_size=32, visual_feat_dim=6, num_labels=answers)
        )
    if name == "pythia":
        return PythiaForQuestionAnswering(
            PythiaConfig(
                vocab_size=12, word_size=4, hidden_size=8, word_attention_size=4, visual_feat_dim=6, box_encoding_size=6,
                grid_feat_dim=None, fusion_size=16, text_branch_size=4, image_branch_size=16, num_labels=answers,
            )
        )  # fmt: skip
    if name == "san":
        return SANForQuestionAnswering(
            SANConfig(
                vocab_size=12, word_size=4, hidden_size=16, attention_size=8, visual_feat_dim=6, num_labels=answers
            )
        )
    return LxmertForQuestionAnswering(
        LxmertConfig(
            vocab_size=12, hidden_size=8, num_attention_heads=2, intermediate_size=16, l_layers=1, r_layers=1, x_layers=1,
            visual_feat_dim=6, num_qa_labels=answers, max_position_embeddings=20,
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", ["updn", "pythia", "san", "lxmert"])
def test_questions_resume_and_best_model(name, tmp_path):
    data = rows(random_importance)
    tokenizer = word_tokenizer([row["question"] for row in data])
    answers = AnswerVocabulary.from_answers([row["answers"] for row in data], min_occurrence=1)
    guidance = Guidance(task=AnswerLoss(), align=Alignment(Gradient(target=SoftLabelLogits())))

    def make(watch):
        return GuidedTrainer(
            question_model(name, len(answers.label2id)), GuidanceArguments(str(tmp_path), **SETTINGS), train_dataset=data,
            eval_dataset=data[:2], data_collator=QuestionCollator(tokenizer, answers), guidance=guidance, callbacks=[watch],
            compute_metrics=watch,
        )  # fmt: skip

    check_resume_and_best(make, tmp_path)


def model_of(name, seed=0):
    torch.manual_seed(seed)
    return BUILDERS[name]()


def as_bin(folder):
    file = folder / "model.safetensors"
    if file.is_file():
        torch.save(load_file(file), folder / "pytorch_model.bin")
        file.unlink()
        return
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for shard in set(index["weight_map"].values()):
        torch.save(load_file(folder / shard), folder / shard.replace(".safetensors", ".bin"))
        (folder / shard).unlink()
    index["weight_map"] = {key: shard.replace(".safetensors", ".bin") for key, shard in index["weight_map"].items()}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors.index.json").unlink()


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("size", ["5GB", "10KB"])
@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_every_kind_of_file_is_read(name, size, kind, tmp_path):
    written, read = model_of(name), model_of(name, seed=1)
    written.save_pretrained(tmp_path, max_shard_size=size)
    if kind == "bin":
        as_bin(tmp_path)
    assert len(list(tmp_path.glob(f"*.{kind}"))) == 1 if size == "5GB" else len(list(tmp_path.glob(f"*.{kind}"))) > 1
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))


@pytest.mark.parametrize("name", ["resnet", "vit", "swin"])
def test_names_of_memory_are_read_too(name, tmp_path):
    written, read = model_of(name), model_of(name, seed=1)
    written.save_pretrained(tmp_path, save_original_format=False)
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))


@pytest.mark.parametrize("name", ["resnet", "vit", "updn"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, "mixed"])
def test_values_of_any_dtype_are_exact(name, dtype, tmp_path):
    def build(seed):
        model = question_model(name, 3) if name == "updn" else model_of(name, seed)
        if dtype != "mixed":
            return model.to(dtype)
        model.to(torch.bfloat16).classifier.double()
        next(model.parameters()).data = next(model.parameters()).data.half()
        return model

    written, read = build(0), build(1)
    written.save_pretrained(tmp_path)
    with torch.no_grad():
        [parameter.zero_() for parameter in read.parameters()]
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))
    assert [p.dtype for p in read.parameters()] == [p.dtype for p in written.parameters()]


@pytest.mark.parametrize("head", [lambda: nn.Sequential(nn.Dropout(), nn.Linear(12, 5)), lambda: nn.Linear(12, 7)])
def test_a_replaced_head_is_loaded(head, tmp_path):
    written, read = model_of("vit"), model_of("vit", seed=1)
    written.classifier, read.classifier = head(), head()
    written.save_pretrained(tmp_path)
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))


class Wrapped(nn.Module):
    """Not a model of transformers: the Trainer writes its names as they are."""

    def __init__(self, seed):
        super().__init__()
        self.inner = model_of("vit", seed)
        self.extra = nn.Linear(2, 2)


def test_a_wrapped_model_is_loaded_by_its_own_names(tmp_path):
    written, read = Wrapped(0), Wrapped(1)
    save_file(written.state_dict(), tmp_path / "model.safetensors")
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight


def test_one_name_of_tied_weights_is_enough(tmp_path):
    written, read = Tied(), Tied()
    saved = written.state_dict()
    del saved["other.weight"]
    torch.save(saved, tmp_path / "pytorch_model.bin")
    load_weights(read, tmp_path)
    assert_equal(state(read), state(written))
    assert read.other.weight is read.one.weight


def edit(folder, change):
    saved = load_file(folder / "model.safetensors")
    change(saved)
    save_file(saved, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGE = {
    "resnet": ("resnet.embedder.embedder.convolution.weight",) * 2,
    "vit": ("vit.encoder.layer.2.attention.attention.query.bias", "vit.layers.2.attention.q_proj.bias"),
    "swin": ("swin.layernorm.weight",) * 2,
}


@pytest.mark.parametrize("name", ["resnet", "vit", "swin"])
@pytest.mark.parametrize("damage", ["missing", "left over", "of another shape"])
def test_what_does_not_fit_is_named_and_nothing_is_loaded(name, damage, tmp_path):
    on_disk, in_memory = DAMAGE[name]
    model_of(name).save_pretrained(tmp_path)
    wrong = {
        "missing": lambda saved: saved.pop(on_disk),
        "left over": lambda saved: saved.update({f"{name}.unknown": torch.zeros(1)}),
        "of another shape": lambda saved: saved.update({on_disk: torch.zeros(1)}),
    }
    edit(tmp_path, wrong[damage])
    read = model_of(name, seed=1)
    before = state(read)
    named = f"{name}.unknown" if damage == "left over" else in_memory
    with pytest.raises(ValueError, match=rf"Classification; {damage}: .*{named}") as refused:
        load_weights(read, tmp_path)
    assert "Nothing was loaded" in str(refused.value)
    assert_equal(state(read), before)


def test_another_head_is_refused_by_name(tmp_path):
    model_of("vit").save_pretrained(tmp_path)
    config = replace(model_of("vit").config, num_labels=5)
    with pytest.raises(ValueError, match=r"of another shape: .*classifier.bias \(3,\) for \(5,\)"):
        load_weights(type(model_of("vit"))(config), tmp_path)


def test_a_buffer_that_is_missing_is_named(tmp_path):
    model_of("resnet").save_pretrained(tmp_path)
    edit(tmp_path, lambda saved: saved.pop("resnet.embedder.embedder.normalization.running_mean"))
    with pytest.raises(ValueError, match=r"missing: .*normalization.running_mean"):
        load_weights(model_of("resnet"), tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(model_of("resnet"), tmp_path)


class NeedsMore(type(model_of("vit"))):
    def __init__(self, config, more):
        super().__init__(config)


def test_a_class_that_needs_more_than_its_config_is_refused(tmp_path):
    written = NeedsMore(model_of("vit").config, 1)
    written.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot be built of its config alone"):
        load_weights(NeedsMore(written.config, 1), tmp_path)


def test_loading_draws_no_random_number(tmp_path):
    model = model_of("vit")
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(12, 3))  # the head of the config is drawn, and not used
    model.save_pretrained(tmp_path)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    load_weights(model, tmp_path)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("left", [0, 7, 300])
def test_a_damaged_file_is_named(name, left, tmp_path):
    net = nn.Linear(40, 40)
    (save_file if name.endswith("safetensors") else torch.save)(net.state_dict(), tmp_path / name)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut off .*Nothing was loaded"):
        load_weights(net, tmp_path)
