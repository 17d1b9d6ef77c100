"""What GuidedTrainer refuses, and what it keeps when something goes wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from forks import Fork, script
from transformers import ViTConfig, ViTForImageClassification

import hf_guidance.training.trainer as trainer_module
from hf_guidance import Grounding, Guidance, GuidanceArguments, GuidanceCollator, GuidedTrainer, Term
from hf_guidance.attributions import GradCAM, InputXGradient, IntegratedGradients
from hf_guidance.objectives import Energy

ENERGY = Guidance(energy=Energy(GradCAM()))


def test_static_graph_is_refused_with_the_reason(trainer_of, model_of):
    with pytest.raises(ValueError, match=r"ddp_static_graph.*averag"):
        trainer_of(model_of(), ENERGY, ddp_static_graph=True)


def test_without_gradient_terms_nothing_is_refused(trainer_of, model_of):
    assert trainer_of(model_of(), Guidance(), ddp_static_graph=True).guidance.on_attributions == {}


def test_compute_loss_func_is_refused(trainer_of, model_of):
    with pytest.raises(ValueError, match="compute_loss_func"):
        trainer_of(model_of(), ENERGY, trainer={"compute_loss_func": lambda *a: 0})


def test_a_dataset_without_any_annotation_is_refused(trainer_of, model_of, digits):
    bare = digits["train"].remove_columns(["objects", "mask"])
    with pytest.raises(ValueError, match="none of the columns"):
        trainer_of(model_of(), ENERGY, rows=bare)
    empty = digits["train"].remove_columns("mask").map(lambda row: {"objects": []}, load_from_cache_file=False)
    with pytest.raises(ValueError, match="empty in every row"):
        trainer_of(model_of(), ENERGY, rows=empty)
    unused = digits["train"].add_column("annotated", [False] * 48)
    with pytest.raises(ValueError, match="False in every row"):
        trainer_of(model_of(), ENERGY, rows=unused)


def unannotated_stream(digits):
    return digits["train"].to_iterable_dataset().map(lambda row: {**row, "annotated": False})


def test_an_epoch_of_a_stream_without_any_annotation_ends_training(trainer_of, model_of, digits):
    trainer = trainer_of(model_of(), ENERGY, rows=unannotated_stream(digits), max_steps=20)
    with pytest.raises(ValueError, match="no annotated row"):
        trainer.train()
    assert trainer.state.global_step == 6


def test_a_run_that_ends_within_its_first_epoch_is_kept(trainer_of, model_of, digits):
    trainer = trainer_of(model_of(), ENERGY, rows=unannotated_stream(digits), max_steps=2)
    assert trainer.train().global_step == 2


def test_a_resumed_run_that_sees_no_annotated_row_is_kept(trainer_of, model_of, digits, tmp_path):
    rows = digits["train"].add_column("annotated", [True] * 8 + [False] * 40)
    settings = {"save_strategy": "steps", "save_steps": 5, "train_sampling_strategy": "sequential"}
    trainer_of(model_of(), ENERGY, rows=rows, **settings).train()
    again = trainer_of(model_of(), ENERGY, rows=rows, **settings)
    assert again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-5")).global_step == 6
    assert not again._watch.seen


def test_another_guidance_than_the_checkpoints_is_said(trainer_of, model_of, tmp_path, monkeypatch):
    settings = {"save_strategy": "steps", "save_steps": 3}
    trainer_of(model_of(), ENERGY, **settings).train()
    said = []
    monkeypatch.setattr(trainer_module.logger, "warning", said.append)
    for guidance, expected in ((ENERGY, 0), (Guidance(energy=Term(Energy(GradCAM()), 2.0)), 1)):
        trainer_of(model_of(), guidance).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
        assert len(said) == expected


def test_a_guidance_that_cannot_be_written_is_refused_at_once(trainer_of, model_of):
    guidance = Guidance(energy=Energy(IntegratedGradients(baseline=lambda features, importance: features * 0)))
    with pytest.raises(ValueError, match="cannot be written"):
        trainer_of(model_of(), guidance)


def test_an_unknown_layer_is_refused_at_once(trainer_of, model_of):
    with pytest.raises(ValueError, match="layer='mid9' is neither"):
        trainer_of(model_of(), Guidance(energy=Energy(GradCAM("mid9"))))
    with pytest.raises(ValueError, match="layer='mid9' is neither"):
        trainer_of(model_of(), Guidance(), trainer={"grounding": Grounding(GradCAM("mid9"))})


def test_arguments_by_position_count(digits, processor, model_of, tmp_path):
    args = GuidanceArguments(str(tmp_path), report_to="none", use_cpu=True)
    own = GuidanceCollator(processor, num_labels=2)
    assert GuidedTrainer(model_of(), args, own, digits["train"], guidance=ENERGY).data_collator is own
    with pytest.raises(ValueError, match="compute_loss_func"):
        GuidedTrainer(model_of(), args, own, digits["train"], None, None, None, lambda *a: 0, guidance=ENERGY)


def test_float_labels_of_a_single_label_model_are_refused(trainer_of, model_of, digits):
    trainer = trainer_of(model_of(problem_type="single_label_classification"), ENERGY)
    batch = trainer.data_collator([digits["train"][i] for i in range(2)])
    with pytest.raises(ValueError, match="problem_type='multi_label_classification'"):
        trainer.compute_loss(trainer.model, batch | {"labels": torch.eye(2)})


def test_a_layer_after_which_the_gradient_is_zero(trainer_of, model_of):
    trainer = trainer_of(model_of("vit"), Guidance(energy=Energy(InputXGradient(layer="vit.layers.1"))))
    with pytest.raises(ValueError, match=r"gradient at layer 'vit.layers.1' is zero"):
        trainer.train()


def test_a_frozen_model_cannot_be_guided(trainer_of, model_of):
    model = model_of("convnext")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == "convnext.embeddings.patch_embeddings.bias")
    # The closed path from the only trained parameter to the map is cut where the features are the leaf.
    model.convnext.embeddings.patch_embeddings.bias.requires_grad_(False)
    model.classifier.bias.requires_grad_(True)
    with pytest.raises(ValueError, match="moves no parameter"):
        trainer_of(model, Guidance(energy=Energy(InputXGradient(layer="input")))).train()


def test_sdpa_is_switched(trainer_of):
    model = ViTForImageClassification._from_config(
        ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
                  patch_size=8, num_labels=2), attn_implementation="sdpa",
    )  # fmt: skip
    trainer_of(model, ENERGY)
    assert model.config._attn_implementation == "twice_differentiable_sdpa"


def test_guidance_travels_with_the_checkpoint(trainer_of, model_of, tmp_path):
    guidance = Guidance(energy=Term(Energy(InputXGradient(layer="mid1"), grid="attribution"), 0.25, "rows"))
    trainer = trainer_of(model_of(), guidance)
    trainer.save_model(str(tmp_path / "saved"))
    assert dict(Guidance.load(tmp_path / "saved")) == dict(guidance)
    again = type(trainer.model).from_pretrained(tmp_path / "saved")
    for one, other in zip(trainer.model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_full_disk_leaves_the_previous_checkpoint_and_no_half_one(tmp_path):
    file = tmp_path / "run.py"
    file.write_text(
        textwrap.dedent(
            """
            import resource, signal, sys
            import torch
            from hf_guidance import Guidance, GuidanceArguments, GuidedTrainer, dataset_builder
            from hf_guidance.attributions import GradCAM
            from hf_guidance.objectives import Energy
            from transformers import ResNetConfig, ResNetForImageClassification, TrainerCallback, ViTImageProcessor

            class Fill(TrainerCallback):
                def on_save(self, args, state, control, **kwargs):
                    # From now on no file may grow beyond 20 kB: the next checkpoint does not fit.
                    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            folder = sys.argv[1]
            builder = dataset_builder("digits_on_photos", image_size=32, digit_size=16, train_size=16, validation_size=0,
                                      test_size=0, cache_dir=folder + "/data")
            builder.download_and_prepare()
            model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1],
                                                              layer_type="basic", num_labels=2))
            args = GuidanceArguments(folder + "/out", max_steps=4, save_steps=1, per_device_train_batch_size=4,
                                     save_total_limit=1, report_to="none", use_cpu=True, disable_tqdm=True)
            GuidedTrainer(model=model, args=args, train_dataset=builder.as_dataset()["train"],
                          processing_class=ViTImageProcessor(size={"height": 32, "width": 32}),
                          guidance=Guidance(energy=Energy(GradCAM())), callbacks=[Fill()]).train()
            """
        )
    )
    run = Fork(script(file, tmp_path))
    assert run.wait(300) != 0, run.out
    checkpoints = sorted(folder.name for folder in Path(tmp_path / "out").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-1"], (checkpoints, run.err[-2000:])
    assert (tmp_path / "out" / "checkpoint-1" / "optimizer.pt").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("reduction", "steps", "warned"), [("sum", 2, True), ("rows", 2, True), ("batch", 2, False), ("sum", 1, False)]
)
def test_reductions_that_depend_on_the_split_are_said(trainer_of, model_of, monkeypatch, reduction, steps, warned):
    said = []
    monkeypatch.setattr("hf_guidance.training.compatibility.logger.warning", said.append)
    guidance = Guidance(energy=Term(Energy(GradCAM()), reduction=reduction))
    trainer_of(model_of(), guidance, gradient_accumulation_steps=steps)
    assert any("come in 2 batches" in text and "['energy']" in text for text in said) == warned
