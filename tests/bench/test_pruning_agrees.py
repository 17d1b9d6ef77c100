"""What the benchmark of pruning compares is the same: the last layer after an epoch on the network and from features."""

import torch
from pruning import BothWays, memory_of_search


def test_equal_last_layers():
    one, other = (BothWays("resnet-18", 64, 32, "cpu", torch.float64) for _ in range(2))
    one.cached()
    other.network(training=False)  # in training mode the features are others, by the statistics of the batch
    head = one.features.head
    new, theirs = one.model.get_submodule(head), other.released.get_submodule(head)
    assert torch.allclose(new.weight, theirs.weight)
    assert torch.allclose(new.bias, theirs.bias)


def test_memory_of_a_search_does_not_grow():
    assert memory_of_search(400, "cpu") < 1.02 * memory_of_search(200, "cpu")
