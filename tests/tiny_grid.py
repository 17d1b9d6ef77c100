"""A grid so small that each of its runs takes a second: options for tests, as a file and as objects."""

from __future__ import annotations

import csv
import json

from hf_guidance.training.grid import DataArguments, GridArguments, parsed

TINY = {
    "builder_config": {"train_size": 40, "validation_size": 12, "test_size": 12, "image_size": 32, "digit_size": 16},
    "image_size": 32, "batch_size": 20, "baseline_epochs": 1, "epochs": 1, "max_drop": 1.0, "segmentations": True, "crop": 0.7,
    "model_config": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "models": ["vanilla", "bcos"], "layers": ["final"], "losses": ["energy", "unguided"], "weights": {"energy": [0.01]},
    "grids": [{"models": ["xdnn"], "layers": ["input"], "losses": ["l1"], "fractions": [0.5], "dilations": [0.25]}],
}  # fmt: skip


def grid_file(folder, **options):
    """A YAML file with the tiny grid and these options instead; what it trains goes to ``folder / "out"``."""
    file = folder / "grid.yaml"
    file.write_text(json.dumps({**TINY, "output_dir": str(folder / "out"), **options}))  # JSON is YAML
    return str(file)


def grid_options(folder, **options):
    """The same, read."""
    return parsed([grid_file(folder, **options)], (GridArguments, DataArguments))


def rows_of(folder):
    """The rows of a grid, as text, read by nothing of the library."""
    with (folder / "out" / "grid.csv").open(newline="") as file:
        return list(csv.DictReader(file))
