"""The panel changes nothing in training, is the same after a resume, and shows the rows that are asked for."""

from __future__ import annotations

import json
import logging
import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Trainer, TrainingArguments, default_data_collator

from hf_guidance import AttributionPanel, Grounding, Guidance, GuidanceCollator, Term
from hf_guidance.attributions import GradCAM, InputXGradient
from hf_guidance.objectives import Energy

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), weight=1.0))


def pictures(folder):
    return {file.name: file.read_bytes() for file in sorted((folder / "panels").glob("step-*.png"))}


def recorded(folder):
    return json.loads((folder / "panels" / "panels.json").read_text())


def trained(trainer_of, model_of, folder, panel, resume=None, kind="resnet", **settings):
    options = {"output_dir": str(folder), "max_steps": 4, "eval_strategy": "steps", "eval_steps": 2} | settings
    if panel is not None and panel.count == 8:
        panel.count = 2  # a panel of eight takes half a second
    trainer = trainer_of(
        model_of(kind), GUIDANCE, trainer={"callbacks": [panel] if panel is not None else None}, **options
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def end_of(trainer):
    """Weights, statistics and log, without times."""
    state = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    times = ("runtime", "per_second")
    log = [{k: v for k, v in e.items() if not k.endswith(times)} for e in trainer.state.log_history]
    return state, log, torch.get_rng_state()


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_accumulation_steps": 2}, {"frozen_batch_norm": True}, {"kind": "vit"}, {"bf16": True}]
)
def test_training_is_the_same_bit_by_bit(trainer_of, model_of, tmp_path, settings):
    panel = AttributionPanel(every_steps=1)
    with_panel = end_of(trained(trainer_of, model_of, tmp_path / "with", panel, **settings))
    without = end_of(trained(trainer_of, model_of, tmp_path / "without", None, **settings))
    assert all(torch.equal(with_panel[0][name], without[0][name]) for name in without[0])
    assert with_panel[1] == without[1]
    assert torch.equal(with_panel[2], without[2])
    assert len(pictures(tmp_path / "with")) == 5


class Drawing(GuidanceCollator):
    """Draws from every global generator, as a random augmentation does."""

    def __call__(self, rows):
        self.drawn = random.random(), np.random.rand(), torch.rand(())  # noqa: NPY002
        return super().__call__(rows)


def test_random_numbers_go_on_where_rows_draw_some(trainer_of, model_of, processor, tmp_path):
    ends = []
    for panel in ([AttributionPanel(count=2, every_steps=1)], []):
        options = {"callbacks": panel, "eval_data_collator": Drawing(processor, num_labels=2)}
        trainer = trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=2, seed=5)
        trainer.train()
        ends.append((random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()))  # noqa: NPY002
    assert ends[0] == ends[1]


def test_gradients_and_modes_stay(trainer_of, model_of, tmp_path):
    trainer = trained(trainer_of, model_of, tmp_path, AttributionPanel())
    panel = next(c for c in trainer.callback_handler.callbacks if isinstance(c, AttributionPanel))
    model = trainer.model.train()
    model.resnet.embedder.eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    modes = [module.training for module in model.modules()]
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    panel._try(99)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    assert all((parameter.grad == 0.5).all() for parameter in model.parameters())
    assert "step-000099.png" in pictures(tmp_path)


def test_at_each_evaluation_before_and_after(trainer_of, model_of, tmp_path):
    trained(trainer_of, model_of, tmp_path, AttributionPanel())
    assert list(pictures(tmp_path)) == ["step-000000.png", "step-000002.png", "step-000004.png"]
    record = recorded(tmp_path)
    assert (record["origin"], record["rows"]) == ("eval_dataset", [0, 1])
    assert [panel["step"] for panel in record["panels"]] == [0, 2, 4]
    assert set(record["panels"][0]["losses"]) == {"loss/task", "loss/energy"}
    assert record["panels"][0]["losses"] != record["panels"][2]["losses"]
    with Image.open(tmp_path / "panels" / "step-000004.png") as picture:
        assert picture.width > 400


def test_eight_rows_by_default(trainer_of, model_of, tmp_path):
    options = {"callbacks": [AttributionPanel()]}
    trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=1).train()
    assert recorded(tmp_path)["rows"] == list(range(8))
    assert list(pictures(tmp_path)) == ["step-000000.png", "step-000001.png"]


@pytest.mark.parametrize(
    ("every_steps", "steps"), [(3, ["000000", "000003", "000004"]), (1, [f"{n:06d}" for n in range(5)])]
)
def test_every_so_many_steps(trainer_of, model_of, tmp_path, every_steps, steps):
    trained(trainer_of, model_of, tmp_path, AttributionPanel(every_steps=every_steps), eval_strategy="no")
    assert list(pictures(tmp_path)) == [f"step-{step}.png" for step in steps]


def test_a_resumed_run_draws_the_same(trainer_of, model_of, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2}
    trained(trainer_of, model_of, tmp_path / "whole", AttributionPanel(), **saving)
    whole = pictures(tmp_path / "whole")
    written = {name: (tmp_path / "whole" / "panels" / name).stat().st_mtime_ns for name in whole}
    trained(
        trainer_of, model_of, tmp_path / "whole", AttributionPanel(),
        resume=str(tmp_path / "whole" / "checkpoint-2"), **saving,
    )  # fmt: skip
    assert pictures(tmp_path / "whole") == whole
    again = {name: (tmp_path / "whole" / "panels" / name).stat().st_mtime_ns for name in whole}
    assert [name for name in whole if again[name] == written[name]] == ["step-000000.png", "step-000002.png"]
    assert [panel["step"] for panel in recorded(tmp_path / "whole")["panels"]] == [0, 2, 4]


def test_other_rows_after_a_resume_are_told(trainer_of, model_of, tmp_path, caplog):
    saving = {"save_strategy": "steps", "save_steps": 2}
    trained(trainer_of, model_of, tmp_path, AttributionPanel(), **saving)
    logging.getLogger("transformers").propagate = True
    trained(
        trainer_of, model_of, tmp_path, AttributionPanel(rows=[3, 1]), resume=str(tmp_path / "checkpoint-2"), **saving
    )
    assert "from step 2 on, panels have other ['rows'] than before" in caplog.text


def test_a_new_run_removes_the_panels_of_an_earlier(trainer_of, model_of, tmp_path):
    trained(trainer_of, model_of, tmp_path, AttributionPanel(every_steps=1), max_steps=1)
    (tmp_path / "panels" / ".draft-step-000009.png").write_bytes(b"of a process that was killed")
    trained(trainer_of, model_of, tmp_path, AttributionPanel())
    assert not (tmp_path / "panels" / ".draft-step-000009.png").exists()
    assert list(pictures(tmp_path)) == ["step-000000.png", "step-000002.png", "step-000004.png"]


def test_rows_that_are_named(trainer_of, model_of, digits, tmp_path):
    trained(trainer_of, model_of, tmp_path / "indices", AttributionPanel(rows=[5, 2, 7]))
    assert recorded(tmp_path / "indices")["rows"] == [5, 2, 7]
    rows = [digits["test"][index] for index in (5, 2, 7)]
    trained(trainer_of, model_of, tmp_path / "rows", AttributionPanel(rows=rows))
    assert recorded(tmp_path / "rows")["origin"] == "rows"
    trained(trainer_of, model_of, tmp_path / "set", AttributionPanel(rows=digits["test"].select([5, 2, 7])))
    trained(trainer_of, model_of, tmp_path / "array", AttributionPanel(rows=torch.tensor([5, 2, 7])))
    trained(trainer_of, model_of, tmp_path / "scalars", AttributionPanel(rows=list(torch.tensor([5, 2, 7]))))
    assert recorded(tmp_path / "array")["rows"] == recorded(tmp_path / "scalars")["rows"] == [5, 2, 7]
    drawn = [pictures(tmp_path / name) for name in ("indices", "rows", "set", "array")]
    assert all(each == drawn[0] for each in drawn)


def test_rows_without_annotation_are_passed_over(trainer_of, model_of, digits, tmp_path):
    flags = [index in (2, 9, 11) for index in range(len(digits["test"]))]
    test = digits["test"].add_column("annotated", flags)
    panel = AttributionPanel(every_steps=2)
    options = {"callbacks": [panel], "eval_dataset": test}
    trainer = trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=1)
    trainer.train()
    assert recorded(tmp_path)["rows"] == [2, 9, 11]


def test_the_training_set_where_there_is_no_other(trainer_of, model_of, tmp_path):
    options = {"callbacks": [AttributionPanel(count=1)], "eval_dataset": None}
    trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=1).train()
    assert recorded(tmp_path)["origin"] == "train_dataset"
    assert list(pictures(tmp_path)) == ["step-000000.png", "step-000001.png"]


def test_an_unguided_run_needs_an_attribution(trainer_of, model_of, tmp_path):
    run = {"output_dir": str(tmp_path), "max_steps": 1}
    with pytest.raises(ValueError, match=r"no term on attributions; give one: AttributionPanel\(attribution=GradCAM"):
        trainer_of(model_of(), Guidance(), trainer={"callbacks": [AttributionPanel()]}, **run).train()
    trainer_of(
        model_of(), Guidance(), trainer={"callbacks": [AttributionPanel(InputXGradient("input"), count=1)]}, **run
    ).train()
    assert recorded(tmp_path)["attribution"].startswith("InputXGradient")
    options = {"callbacks": [AttributionPanel(count=1)], "grounding": Grounding(GradCAM())}
    trainer_of(model_of(), Guidance(), trainer=options, **run).train()
    assert recorded(tmp_path)["attribution"].startswith("GradCAM")
    assert set(recorded(tmp_path)["panels"][0]["losses"]) == {"loss/task"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attribution": "GradCAM"}, "attribution='GradCAM' is a str; give one, as GradCAM"),
        ({"count": 0}, r"AttributionPanel\(count=0\): give a whole number of at least 1"),
        ({"every_steps": 1.5}, r"AttributionPanel\(every_steps=1.5\)"),
    ],
)
def test_options_that_cannot_be_right(options, message):
    with pytest.raises(ValueError, match=message):
        AttributionPanel(**options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([99], r"rows=\[99\] are no rows of eval_dataset, which has 20; give indices from 0"),
        ([], r"rows=\[\] cannot be drawn"),
        ([True, False], r"rows=\[True, False\]... are no indices but truth values"),
        (np.array([0.5, 1.0]), r"are no indices but truth values or fractions"),
        ("first", "rows='first' cannot be drawn"),
        ({1, 2}, r"rows=\{1, 2\} cannot be drawn"),
        (np.array([[1, 2]]), r"rows holds \[1, 2\], a list, which is neither an index nor a row"),
        ([1, None], "rows holds 1, a int, which is neither"),
        ([None], "rows holds None, a NoneType, which is neither"),
        ([np.float32(1)], "are no indices but truth values or fractions"),
    ],
)
def test_rows_that_are_not_there(trainer_of, model_of, tmp_path, rows, message):
    trainer = trainer_of(model_of(), GUIDANCE, trainer={"callbacks": [AttributionPanel(rows=rows)]}, max_steps=1)
    with pytest.raises(ValueError, match=message):
        trainer.train()


def test_a_set_without_annotation(trainer_of, model_of, digits):
    bare = digits["test"].add_column("annotated", [False] * len(digits["test"]))
    options = {"callbacks": [AttributionPanel(GradCAM())], "eval_dataset": bare}
    trainer = trainer_of(model_of(), Guidance(), trainer=options, rows=bare, max_steps=1)
    with pytest.raises(ValueError, match=r"no annotated row in \['eval_dataset', 'train_dataset'\]; give Attribution"):
        trainer.train()


def test_a_plain_trainer_is_refused(model_of, tmp_path):
    rows = [{"pixel_values": torch.zeros(3, 32, 32), "labels": 0}] * 4
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, max_steps=1, disable_tqdm=True)
    trainer = Trainer(
        model_of(), args, train_dataset=rows, callbacks=[AttributionPanel()], data_collator=default_data_collator
    )
    with pytest.raises(ValueError, match="reads the family and the collator of a GuidedTrainer"):
        trainer.train()


def test_one_panel_for_two_trainers_is_refused(trainer_of, model_of, tmp_path):
    panel = AttributionPanel()
    first = trainer_of(model_of(), GUIDANCE, trainer={"callbacks": [panel]}, max_steps=1)
    second = trainer_of(model_of(), GUIDANCE, max_steps=1)
    second.add_callback(panel)
    with pytest.raises(ValueError, match="a new one to each"):
        first.train()
    second.train()


def test_a_full_disk_is_a_warning(trainer_of, model_of, tmp_path, monkeypatch, caplog):
    def full(self, file, **options):
        if "000002" in str(file):
            raise OSError(28, "No space left on device")
        return save(self, file, **options)

    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", full)
    logging.getLogger("transformers").propagate = True
    trained(trainer_of, model_of, tmp_path, AttributionPanel())
    assert "panel of step 2 was not drawn, and training goes on: OSError: [Errno 28] No space left" in caplog.text
    assert list(pictures(tmp_path)) == ["step-000000.png", "step-000004.png"]
    assert [panel["step"] for panel in recorded(tmp_path)["panels"]] == [0, 4]
    assert not [file for file in (tmp_path / "panels").iterdir() if file.name.startswith(".")]


def test_a_search_has_a_folder_for_each_trial(trainer_of, model_of, tmp_path):
    options = {"callbacks": [AttributionPanel(count=1)], "model_init": lambda trial: model_of()}
    trainer = trainer_of(None, GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=1, eval_strategy="epoch")
    trainer.hyperparameter_search(lambda trial: {"learning_rate": trial.suggest_float("lr", 1e-4, 1e-3)}, n_trials=2)
    assert sorted(place.name for place in tmp_path.glob("panels*")) == ["panels-0", "panels-1"]
    assert all((tmp_path / name / "step-000001.png").is_file() for name in ("panels-0", "panels-1"))


def test_names_are_drawn_as_they_are(trainer_of, model_of, tmp_path):
    names = {"id2label": {0: "$x_{", 1: "<b>"}, "label2id": {"$x_{": 0, "<b>": 1}}
    options = {"callbacks": [AttributionPanel(count=2)]}
    trainer_of(model_of(**names), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=1).train()
    assert len(pictures(tmp_path)) == 2
