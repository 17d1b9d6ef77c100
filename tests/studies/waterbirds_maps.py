"""Where the network looks on real Waterbirds before and after guidance, drawn without the photographs.

    python tests/studies/waterbirds_maps.py --data DATA [--method energy_views] [--output docs/waterbirds-maps.png]

Trains run_waterbirds.py's ERM and a guided method, seed 0, as waterbirds_photos.py does, and draws the positive part of the
maps of two validation birds of each group with the outline of the box, and the mean over all birds of the half that is
reported, in the frame of the box. The photographs may not be copied, so they are not in the picture; for one's own,
`hf-guidance explain` and `AttributionPanel` draw the maps over the images.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from run_waterbirds import Run, WaterbirdsArguments
from scipy.ndimage import map_coordinates
from simulated_annotator import boxes_of
from waterbirds_methods import FINAL, METHODS
from waterbirds_photos import FOLDER, remember_frozen

from hf_guidance.evaluation import extract_maps

AROUND = 0.75  # of the box's size at each side, in the mean over birds
FINE = 120
EACH = 2  # birds of a group


def maps_of(method: str, data: Path, known: dict[int, dict[bytes, torch.Tensor]]) -> tuple[np.ndarray, Any, int]:
    """The positive part of the maps of the reported validation rows, those rows, and the side of the images in pixels."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(WaterbirdsArguments(str(data / FOLDER), method, f"{folder}/run", half="second"))
        remember_frozen(run, known)
        run.train()
        rows = run.splits["validation"]
        maps = extract_maps(run.model, rows, f"{folder}/maps", run.processor, attribution=FINAL)
        return maps.taken(range(len(maps))).clip(0), rows, run.options.image_size


def in_frame(values: np.ndarray, box: tuple[float, ...], side: int) -> np.ndarray:
    """A map, scaled to sum 1, around its box: the box is the middle, nothing is outside of the image."""
    left, top, right, bottom = box
    steps = (np.arange(FINE) + 0.5) / FINE * (1 + 2 * AROUND) - AROUND
    scale = values.shape[-1] / side
    rows, columns = (top + steps * (bottom - top)) * scale - 0.5, (left + steps * (right - left)) * scale - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(map_coordinates(values / max(values.sum(), 1e-12), grid, order=1, mode="grid-constant"))


def draw(found: dict[str, np.ndarray], rows: Any, side: int, output: Path) -> None:
    """A line per method: two birds of each group, then the mean in the frame of the box."""
    groups, boxes = np.array(rows["group"]), boxes_of(rows, side)
    names = rows.features["group"].names
    chosen = [index for group in range(len(names)) for index in np.flatnonzero(groups == group)[:EACH]]
    figure = Figure(figsize=(1.45 * (len(chosen) + 1), 3.5), layout="constrained")
    axes = figure.subplots(len(found), len(chosen) + 1, squeeze=False)
    for number, (name, maps) in enumerate(found.items()):
        line = axes[number]
        for axis, index in zip(line, chosen, strict=False):
            axis.imshow(maps[index], cmap="inferno", extent=(0, side, side, 0))
            left, top, right, bottom = boxes[index]
            axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color="cyan", linewidth=1.5))
            axis.set(xlim=(0, side), ylim=(side, 0))
            if number == 0:
                axis.set_title(names[groups[index]].replace("_", " ", 1).replace("_", "\n"), fontsize=8)
        mean = np.mean([in_frame(values, box, side) for values, box in zip(maps, boxes, strict=True)], 0)
        line[-1].imshow(mean, cmap="inferno", extent=(-AROUND, 1 + AROUND, 1 + AROUND, -AROUND), vmin=0)
        line[-1].add_patch(Rectangle((0, 0), 1, 1, fill=False, color="cyan", linewidth=1.5))
        line[0].set_ylabel(name, fontsize=9)
    axes[0][-1].set_title(f"mean of {len(rows)},\nframe of the box", fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.savefig(output, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {FOLDER}")
    parser.add_argument("--method", default="energy_views", choices=list(METHODS), help="the guided method")
    parser.add_argument("--output", type=Path, default=Path("docs/waterbirds-maps.png"), help="the picture")
    args = parser.parse_args()
    known: dict[int, dict[bytes, torch.Tensor]] = {}
    before, rows, side = maps_of("erm", args.data, known)
    after, _, _ = maps_of(args.method, args.data, known)
    draw({"erm": before, args.method: after}, rows, side, args.output)


if __name__ == "__main__":
    main()
