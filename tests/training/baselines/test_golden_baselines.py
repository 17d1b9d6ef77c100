"""The formulas of the compared methods against numbers obtained by running the authors' code: values and gradients."""

import pytest
import torch

from hf_guidance.training.baselines.group_dro import robust_loss

FOLDER = "crayon_sort"


@pytest.fixture
def arrays(golden):
    """The arrays of one case of a file, as tensors."""

    def case(name, number):
        data = golden(f"{FOLDER}/{name}")
        prefix = f"c{number}__"
        return {key.removeprefix(prefix): torch.from_numpy(data[key]) for key in data.files if key.startswith(prefix)}

    return case


@pytest.mark.parametrize("number", range(2))
def test_group_dro(arrays, agree, number):
    data = arrays("cmp_group_dro", number)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    for step in range(3):
        losses = torch.nn.functional.cross_entropy(data["logits"][step], data["y"][step], reduction="none")
        loss, weights = robust_loss(losses, data["g"][step], weights, float(data["step_size"]))
        agree(f"{FOLDER}/cmp_group_dro (loss)", loss, data["robust_loss"][step])
        agree(f"{FOLDER}/cmp_group_dro (weights)", weights, data["adv_probs"][step])
