import logging
from contextlib import nullcontext
from types import SimpleNamespace

import datasets
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DynamoBackend
from torch import nn
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import TrainingArguments
from transformers.utils import logging as transformers_logging

from hf_guidance.training.compatibility import (
    refuse_dispatched_batches,
    refuse_unsupported,
)
from hf_guidance.training.sharding_checks import refuse_sharding

MODEL = nn.Linear(1, 1)


@pytest.fixture
def said():
    """Messages of the library's logger, with transformers' memory of what it said once cleared."""
    messages = []

    class Listen(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("hf_guidance.training.compatibility"), Listen()
    logger.addHandler(handler)
    cached = getattr(transformers_logging.warning_once, "cache_clear", lambda: None)
    cached()
    yield messages
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_gpu": 2}, "DataParallel.*torchrun"),
        ({"ddp_static_graph": True}, "ddp_static_graph=True.*leave it off"),
        ({"fsdp": "full_shard"}, "fsdp of version 1.*'version': 2"),
        ({"fsdp": True, "fsdp_config": {"version": 1}}, "fsdp of version 1"),
        ({"fsdp": True, "fsdp_plugin_args": {"fsdp_version": 1}}, "fsdp of version 1"),
        ({"fsdp": True, "fsdp_config": {"version": 2, "xla": True}}, "fsdp of version 1 or of XLA"),
        ({"deepspeed": {"stage": 3}}, "deepspeed.*DistributedDataParallel"),
        (
            {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
            "reentrant.*'use_reentrant': False",
        ),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": None}}, "reentrant"),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"preserve_rng_state": True}}, "reentrant"),
        ({"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}}, "reentrant"),
    ],
)
def test_settings_that_fail_are_refused_with_the_reason(setting, message):
    with pytest.raises(ValueError, match=message):
        refuse_unsupported(SimpleNamespace(**setting), MODEL)


def test_models_that_fail_are_refused():
    with pytest.raises(ValueError, match="compiled model"):
        refuse_unsupported(SimpleNamespace(), torch.compile(MODEL))
    with pytest.raises(ValueError, match="DataParallel"):
        refuse_unsupported(SimpleNamespace(), nn.DataParallel(MODEL))


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"torch_compile": False, "n_gpu": 1, "fsdp": None, "deepspeed": None},
        {"fsdp": []},
        {"fsdp": True, "fsdp_config": {"version": 2, "xla": False}},
        {"fsdp": True, "fsdp_plugin_args": {"fsdp_version": 2}},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"gradient_checkpointing": False, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"every_n_layers": 2, "offload": True}},
        {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": False, "debug": True}},
    ],
)
def test_settings_that_work_pass(setting):
    refuse_unsupported(SimpleNamespace(**setting), MODEL)


def test_default_training_arguments_pass(tmp_path):
    refuse_unsupported(TrainingArguments(output_dir=str(tmp_path), report_to="none"), MODEL)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"fsdp_plugin": object()}, "fsdp of version 1"),
        ({"fsdp_plugin": SimpleNamespace(fsdp_version=1)}, "fsdp of version 1.*fsdp_version: 2"),
        ({"deepspeed_plugin": object()}, "deepspeed"),
        ({"dynamo_plugin": SimpleNamespace(backend=DynamoBackend.INDUCTOR)}, "compile"),
    ],
)
def test_what_accelerate_configured_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        refuse_unsupported(SimpleNamespace(), MODEL, SimpleNamespace(state=SimpleNamespace(**state)))
    refuse_unsupported(SimpleNamespace(), MODEL, Accelerator(cpu=True))


def test_a_model_with_a_compiled_part_is_refused():
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].compile()
    with pytest.raises(ValueError, match="compiled model"):
        refuse_unsupported(SimpleNamespace(), model)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("dispatch", [None, False, True])
def test_batches_must_not_be_cut_for_other_processes(stream, processes, dispatch):
    args = SimpleNamespace(world_size=processes, accelerator_config=SimpleNamespace(dispatch_batches=dispatch))
    rows = datasets.Dataset.from_dict({"a": [1]})
    refused = processes > 1 and (dispatch or (stream and dispatch is None))
    with pytest.raises(ValueError, match=r"cannot be cut.*'dispatch_batches': False") if refused else nullcontext():
        refuse_dispatched_batches(args, rows.to_iterable_dataset() if stream else rows)


def accelerator_of(**more):
    plugin = {"fsdp_version": 2, "state_dict_type": "StateDictType.FULL_STATE_DICT", "mixed_precision_policy": None}
    return SimpleNamespace(state=SimpleNamespace(fsdp_plugin=SimpleNamespace(**(plugin | more))))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"state_dict_type": "StateDictType.SHARDED_STATE_DICT"}, "SHARDED_STATE_DICT.*guidance.json.*FULL_STATE_DICT"),
        ({"mixed_precision_policy": SimpleNamespace(param_dtype=torch.float16)}, "fp16 with FSDP2.*bf16=True"),
    ],
)
def test_what_fails_where_fsdp2_shards_is_refused(setting, message):
    refuse_sharding(MODEL, accelerator_of())
    refuse_unsupported(SimpleNamespace(), MODEL, accelerator_of())
    with pytest.raises(ValueError, match=message):
        refuse_sharding(MODEL, accelerator_of(**setting))


class Block(nn.Linear):
    """A block as timm has them."""


@pytest.mark.parametrize("given", [None, ["Layer"]])
def test_blocks_that_the_model_does_not_have_are_not_sharded(given):
    model = nn.Sequential(Block(1, 1), Block(1, 1))
    model._no_split_modules = ["TimmWrapperModel"]
    chosen = {"auto_wrap_policy": transformer_auto_wrap_policy, "transformer_cls_names_to_wrap": given}
    names = "'Layer'" if given else "'TimmWrapperModel'"
    with pytest.raises(ValueError, match=rf"{names}.*'transformer_layer_cls_to_wrap'.*'Block'"):
        refuse_sharding(model, accelerator_of(**chosen))
    refuse_sharding(model, accelerator_of(**chosen | {"transformer_cls_names_to_wrap": ["Block"]}))
    refuse_sharding(model, accelerator_of(**chosen | {"auto_wrap_policy": None}))


def test_scalar_parameters_are_not_sharded():
    model = nn.Linear(1, 1)
    model.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match=r"no scalars.*\['scale'\].*DistributedDataParallel"):
        refuse_sharding(model, accelerator_of())
