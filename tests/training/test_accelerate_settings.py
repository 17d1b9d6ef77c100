"""What docs/accelerate.md says of settings: two processes under each of them against one process without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from distributed_settings import SETTINGS, trained
from forks import Fork, module, ranks, script
from test_distributed import free_port

from hf_guidance import Guidance
from hf_guidance.attributions import InputXGradient
from hf_guidance.objectives import Energy

HERE = Path(__file__).parent
ENERGY = Guidance(energy=Energy(InputXGradient("input")))
# On a CPU accelerate makes DistributedDataParallel of FSDP, without a word.
SAME = ("plain", "accumulation", "checkpointing", "unused", "workers", "split_batches", "uneven", "fsdp")


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """By setting, how far two processes moved the weights, or their error."""
    folder = tmp_path_factory.mktemp("two")
    ranks(2, script(HERE / "distributed_settings.py", folder, *SETTINGS))
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in SETTINGS}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """By name, how far one process moves the weights."""
    folder, found = tmp_path_factory.mktemp("one"), {}

    def run(name):
        if name not in found:
            found[name] = trained(name, folder)
        return found[name]

    return run


def distance(one, other):
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", SAME)
def test_two_processes_do_what_one_does(name, moved, alone):
    assert alone("plain").norm() > 1e-3
    assert distance(moved[name], alone("plain")) < 1e-4


@pytest.mark.parametrize("name", ["accumulation", "checkpointing", "workers"])
def test_one_process_does_the_same(name, alone):
    assert distance(alone(name), alone("plain")) < 1e-4


def test_a_stream_that_every_process_reads(moved, alone):
    assert distance(moved["stream"], alone("stream")) < 1e-4


def test_guided_steps_and_plain_ones_are_those_of_both_processes(moved, alone):
    assert distance(moved["guide_every"], alone("guide_every")) < 1e-4
    assert distance(alone("guide_every"), alone("plain")) > 1e-3


def test_adapters_on_two_processes(moved, alone):
    assert distance(moved["lora"], alone("lora")) < 1e-4


def test_bf16_on_two_processes(moved, alone):
    assert 0 < distance(moved["bf16"], alone("plain")) < 0.2


def test_batch_norm_has_the_statistics_of_its_process(moved, alone):
    assert distance(moved["batch_norm"], alone("batch_norm")) > 1e-3


@pytest.mark.parametrize("name", ["dispatched", "dispatched_stream"])
def test_batches_that_one_process_cuts_are_refused(name, moved):
    assert "set accelerator_config={'dispatch_batches': False}" in moved[name]


def losses_of(trainer):
    trainer.train()
    return torch.tensor([entry["loss/energy"] for entry in trainer.state.log_history if "loss/energy" in entry])


def test_fp16_on_a_cpu_is_float32(trainer_of, model_of):
    """Accelerate leaves it out without a word."""
    one, other = (losses_of(trainer_of(model_of("vit"), ENERGY, fp16=half, max_steps=2)) for half in (False, True))
    assert torch.equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 is trained on accelerators only")
def test_fp16_is_close_to_float32(trainer_of, model_of):
    one, other = (losses_of(trainer_of(model_of("vit"), ENERGY, fp16=half, use_cpu=False)) for half in (False, True))
    assert 0 < (one - other).abs().max() < 0.02


def test_a_batch_that_does_not_fit_is_halved(trainer_of, model_of, monkeypatch):
    trainer = trainer_of(model_of("vit"), ENERGY, auto_find_batch_size=True, max_steps=2)
    real, sizes = type(trainer).compute_loss, []

    def compute_loss(self, model, inputs, *args, **kwargs):
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 4:
            raise RuntimeError("CUDA out of memory.")
        return real(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(type(trainer), "compute_loss", compute_loss)
    trainer.train()
    assert sizes[0] == 8
    assert set(sizes[1:]) <= {7, 6, 5, 4}
    assert trainer.state.global_step == 2


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The number of processes that each command line starts, by its options."""
    folder = tmp_path_factory.mktemp("launched")
    count = folder / "count.py"
    # A file for each process: what two processes print at once is mixed.
    count.write_text(
        "import os, sys\nfrom pathlib import Path\n"
        "folder = Path(__file__).parent / sys.argv[1]\nfolder.mkdir(exist_ok=True)\n"
        "(folder / str(os.getpid())).write_text(f\"processes {os.environ.get('WORLD_SIZE', '1')}\")\n"
    )
    commands = {
        "--cpu": ([], {}),
        "--multi_gpu": (["--main_process_port", str(free_port())], {"ACCELERATE_USE_CPU": "true"}),
    }
    found = {}
    for option, (more, extra) in commands.items():
        name = option.strip("-")
        words = ("--num_processes", "2", option, *more, count, name)
        Fork(module("accelerate.commands.launch", *words), **extra).wait(120)
        found[option] = [path.read_text() for path in (folder / name).iterdir()]
    return found


def test_accelerate_launch_on_cpu_starts_one_process(launched):
    """If this fails accelerate has changed: docs/accelerate.md says that two processes are silently one."""
    assert launched["--cpu"] == ["processes 1"]


def test_accelerate_launch_starts_two_where_it_is_told_otherwise(launched):
    assert launched["--multi_gpu"] == ["processes 2"] * 2
