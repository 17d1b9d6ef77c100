"""What a trainer reports to gets panels: TensorBoard read back, Weights & Biases and trackio by a stand-in that records."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from transformers.integrations import integration_utils

from hf_guidance import AttributionPanel, Guidance, Term
from hf_guidance.attributions import GradCAM
from hf_guidance.objectives import Energy

GUIDANCE = Guidance(energy=Term(Energy(GradCAM()), weight=1.0))


def test_tensorboard_has_pictures_and_losses(trainer_of, model_of, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = {"callbacks": [AttributionPanel(count=2, every_steps=2)]}
    settings = {"max_steps": 4, "report_to": "tensorboard"}
    trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), **settings).train()
    (folder,) = [file.parent for file in tmp_path.rglob("events.out.tfevents*")]
    events = EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()
    shown = events.Images("panel/attributions")
    assert [event.step for event in shown] == [0, 2, 4]
    with Image.open(tmp_path / "panels" / "step-000004.png") as picture:
        (tmp_path / "sent.png").write_bytes(shown[2].encoded_image_string)
        with Image.open(tmp_path / "sent.png") as sent:
            assert np.array_equal(np.asarray(picture), np.asarray(sent.convert("RGB")))
    record = json.loads((tmp_path / "panels" / "panels.json").read_text())
    losses = {panel["step"]: panel["losses"]["loss/energy"] for panel in record["panels"]}
    assert {e.step: e.value for e in events.Scalars("panel/loss/energy")} == pytest.approx(losses)
    assert len(events.Scalars("train/loss/energy")) == 4


class Service:
    """Stands for the module wandb or trackio: records what is logged."""

    def __init__(self, images=True):
        self.__spec__ = None
        self.__version__ = "99"
        self.logged, self.run, self.config, self.summary = [], None, {}, {}
        if images:
            self.Image = lambda array, caption: ("image", np.asarray(array).shape, caption)
        self.context_vars = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
        self.config = SimpleNamespace(update=lambda *_, **__: None, __setitem__=lambda *_: None)

    def init(self, **_):
        self.run = SimpleNamespace(summary={}, _label=lambda **_: None)

    def log(self, entry):
        self.logged.append(entry)

    def define_metric(self, *_, **__):
        pass

    def finish(self):
        pass


def service_for(name, **options):
    service = Service(**options)

    class Callback(integration_utils.INTEGRATION_TO_CALLBACK[name]):
        def __init__(self):
            setattr(self, f"_{name}", service)
            self._initialized, self._space_id, self._static_space_id = True, None, None
            self._log_model = integration_utils.WandbLogModel.FALSE

    return service, Callback


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_services_get_pictures_and_losses(trainer_of, model_of, tmp_path, name):
    service, callback = service_for(name)
    service.init()
    options = {"callbacks": [callback(), AttributionPanel(count=1)]}
    trainer = trainer_of(
        model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=2, eval_strategy="epoch"
    )
    trainer.train()
    sent = [entry for entry in service.logged if "panel/attributions" in entry]
    assert [entry["train/global_step"] for entry in sent] == [0, 2]
    assert sent[1]["panel/attributions"][0] == "image"
    assert sent[1]["panel/attributions"][2] == "step 2"
    assert set(sent[1]) == {"panel/attributions", "panel/loss/task", "panel/loss/energy", "train/global_step"}


def test_a_service_without_pictures_is_told_once(trainer_of, model_of, tmp_path, caplog):
    service, callback = service_for("trackio", images=False)
    logging.getLogger("transformers").propagate = True
    trained_with = {"callbacks": [callback(), AttributionPanel(count=1, every_steps=1)]}
    trainer_of(model_of(), GUIDANCE, trainer=trained_with, output_dir=str(tmp_path), max_steps=3).train()
    told = [record for record in caplog.records if "was not sent to trackio" in record.getMessage()]
    assert len(told) == 1
    assert len([entry for entry in service.logged if "panel/loss/task" in entry]) == 4
    assert len(list((tmp_path / "panels").glob("*.png"))) == 4


def test_an_integration_that_is_not_known_is_told_once(trainer_of, model_of, tmp_path, caplog):
    class Flow(integration_utils.MLflowCallback):
        def __init__(self):
            pass

        def setup(self, *_):
            pass

        on_train_begin = on_log = on_train_end = on_save = on_evaluate = lambda self, *_, **__: None

        def __del__(self):
            pass

    logging.getLogger("transformers").propagate = True
    options = {"callbacks": [Flow(), AttributionPanel(count=1, every_steps=1)]}
    trainer_of(model_of(), GUIDANCE, trainer=options, output_dir=str(tmp_path), max_steps=2).train()
    told = [record.getMessage() for record in caplog.records if "was not sent to mlflow" in record.getMessage()]
    assert len(told) == 1
    assert "The pictures are in the folder panels" in told[0]
