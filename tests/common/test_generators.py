import random

import numpy as np
import torch

from hf_guidance.common.generators import generators_kept


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_what_is_drawn_inside_changes_nothing_after():
    torch.manual_seed(3)
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = drawn()
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])
    with generators_kept(torch.device("cpu"), seed=5):
        first = drawn()
    assert drawn() == expected
    with generators_kept(seed=5):
        assert drawn() == first


def test_kept_after_an_error():
    torch.manual_seed(3)
    expected = torch.get_rng_state()
    try:
        with generators_kept():
            torch.rand(3)
            raise RuntimeError
    except RuntimeError:
        pass
    assert torch.equal(torch.get_rng_state(), expected)
