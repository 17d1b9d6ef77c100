"""The activation in any output of a module, its replacement, the logits of a model, and what a wrapper is."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput

from hf_guidance.common.outputs import activation_of, logits_of, tensors_of, with_activation
from hf_guidance.common.wrappers import unwrapped

Pair = namedtuple("Pair", "maps rest")
MAPS, REST = torch.ones(1, 2, 3, 3), torch.zeros(1, 2)
OUTPUTS = {
    "tensor": MAPS,
    "list": [MAPS, REST],
    "tuple": (MAPS, "rest"),
    "namedtuple": Pair(MAPS, None),
    "dict": {"maps": MAPS, "rest": 1},
    "ordered": OrderedDict(maps=MAPS),
    "output": BaseModelOutput(last_hidden_state=MAPS, hidden_states=(REST,)),
    "output whose first field is None": ImageClassifierOutput(logits=MAPS),
    "nothing first": (None, MAPS),
    "indices first": (MAPS.argmax(1), MAPS),
    "a scalar first": (MAPS.mean(), MAPS),
    "nested": ((MAPS, 1), REST),
    "nested deeper": [{"a": Pair(None, [MAPS])}],
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_the_activation_is_the_first_tensor_that_is_no_index_and_no_scalar(output):
    assert activation_of(output) is MAPS
    assert tensors_of(output)[0] is MAPS


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_a_replaced_activation_leaves_all_else_as_it_was(output):
    new = torch.full_like(MAPS, 2)
    changed = with_activation(output, MAPS, new)
    assert type(changed) is type(output)
    assert activation_of(changed) is new
    assert activation_of(output) is MAPS
    back = with_activation(changed, new, MAPS)
    assert str(back) == str(output)
    if isinstance(output, BaseModelOutput):
        assert changed.last_hidden_state is new


@pytest.mark.parametrize("output", [None, (), {}, "text", (MAPS.argmax(1),), [MAPS.mean()], (None, 1)])
def test_an_output_without_activation_is_refused(output):
    with pytest.raises(ValueError, match="holds no floating-point tensor; choose another layer"):
        activation_of(output)


@dataclass
class Attributes:
    logits: torch.Tensor
    scores: torch.Tensor


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        (REST, "logits"), (REST, 0), (REST, "scores"), ({"logits": REST}, "logits"), ((MAPS, REST), 1), ([REST], 0),
        (Pair(MAPS, REST), "rest"), (ImageClassifierOutput(logits=REST), "logits"), (Attributes(MAPS, REST), "scores"),
        (ImageClassifierOutput(logits=REST), 0),
    ],
)  # fmt: skip
def test_logits_are_found_by_name_or_position(outputs, name):
    assert logits_of(outputs, name) is REST


@pytest.mark.parametrize(
    ("outputs", "name", "said"),
    [
        ((MAPS, REST), "logits", r"tuple without 'logits' \(it has \[0, 1\]\)"),
        ({"scores": REST}, "logits", r"dict without 'logits' \(it has \['scores'\]\)"),
        ({"scores": REST}, 0, "dict without 0"),
        ((REST,), 1, "tuple without 1"),
        (Attributes(MAPS, REST), "classes", "Attributes without 'classes'"),
        (Attributes(MAPS, REST), 0, "Attributes without 0"),
        ({"logits": None}, "logits", "dict without 'logits'"),
        (None, "logits", "NoneType without 'logits'"),
        ((MAPS, REST), 0, r"the logits have shape \(1, 2, 3, 3\)"),
        (MAPS, "logits", r"the logits have shape \(1, 2, 3, 3\)"),
    ],
)
def test_logits_that_are_not_there_are_named(outputs, name, said):
    with pytest.raises(ValueError, match=f"{said}.*Family\\(logits="):
        logits_of(outputs, name)


def test_only_wrappers_that_spread_a_model_are_taken_off():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(1, 1)

    own = Own()
    assert unwrapped(own) is own
    assert unwrapped(nn.DataParallel(own)) is own
    assert unwrapped(own.module) is own.module
