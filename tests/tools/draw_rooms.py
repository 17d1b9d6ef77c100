"""Draw the rooms of the package, floor by floor, with their sizes and imports: `make rooms` writes docs/rooms.png."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rooms import FILES, MODULES, PACKAGE, floors, modules_imported, room, rooms_imported

ABOUT = {
    "common": "checks, whole files",
    "second_order": "cheaper double backward",
    "data": "rows, and how they become a batch",
    "views": "edited copies of an input",
    "models": "networks that transformers lacks",
    "families": "what is known of an architecture",
    "forward": "one step of one model",
    "attributions": "where the model looks",
    "objectives": "what is asked of it",
    "guidance": "weighted terms, guidance.json",
    "recipes": "papers as values",
    "evaluation": "what is measured",
    "training": "GuidedTrainer",
}
WIDE, HIGH, GAP = 3.1, 0.74, 0.3


def needed(edges):
    """The imports that no chain of others implies."""

    def reach(name):
        return edges[name].union(*(reach(other) for other in edges[name]))

    return {
        name: {o for o in others if not any(o in reach(other) for other in others - {o})}
        for name, others in edges.items()
    }


def places(levels):
    """Room to the middle of its box: one line for each floor, centred."""
    found = {}
    for level in sorted(set(levels.values())):
        names = [name for name in ABOUT if levels.get(name) == level]
        names += sorted(name for name, at in levels.items() if at == level and name not in names)
        for index, name in enumerate(names):
            found[name] = ((index - (len(names) - 1) / 2) * (WIDE + GAP), level * (HIGH + 0.62))
    return found


def summary(levels):
    """Lines of text below the picture."""
    sizes = sorted(len(file.read_text().splitlines()) for file in FILES)
    entries = {module.split(".")[1] for module in MODULES if "." in module}
    return (
        f"{len(entries) + 1} entries at the root, {max(levels.values())} floors, no circle; {len(FILES)} files, "
        f"{sum(sizes)} lines, median file {sizes[len(sizes) // 2]}, largest {sizes[-1]}"
    )


def main() -> None:
    levels, edges = floors(), needed(rooms_imported())
    at = places(levels)
    figure = Figure(figsize=(9.6, 11.2), layout="constrained")
    axis = figure.subplots()
    for name, others in edges.items():
        for other in others:
            start, end = at[name], at[other]
            axis.annotate(
                "", (end[0], end[1] + HIGH / 2), (start[0], start[1] - HIGH / 2),
                arrowprops={"arrowstyle": "-|>", "color": "#8a8a8a", "lw": 1.1, "shrinkA": 0, "shrinkB": 1},
            )  # fmt: skip
    for name, (x, y) in at.items():
        own = [file for module, file in MODULES.items() if room(module) == name]
        lines = sum(len(file.read_text().splitlines()) for file in own)
        axis.add_patch(
            FancyBboxPatch((x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, boxstyle="round,pad=0,rounding_size=0.1",
                           facecolor="#eef3fb", edgecolor="#3b5f9a", zorder=2)
        )  # fmt: skip
        axis.text(x, y + 0.15, name, ha="center", va="center", weight="bold", fontsize=11, zorder=3)
        axis.text(x, y - 0.08, ABOUT.get(name, ""), ha="center", va="center", fontsize=8, zorder=3)
        count = f"{len(own)} files, {lines:,} lines"
        axis.text(x, y - 0.26, count, ha="center", va="center", fontsize=7, color="#555", zorder=3)
    xs, ys = zip(*at.values(), strict=True)
    axis.set_xlim(min(xs) - WIDE / 2 - 0.2, max(xs) + WIDE / 2 + 0.2)
    axis.set_ylim(min(ys) - HIGH, max(ys) + HIGH)
    axis.set_axis_off()
    axis.set_title(
        "Rooms of hf_guidance: arrows are imports, for types too; those that others imply are left out", fontsize=10
    )
    figure.supxlabel(summary(levels), fontsize=8)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE.parent / "docs" / "rooms.png"
    figure.savefig(target, dpi=110)
    print(summary(levels))
    for name in sorted(levels, key=levels.get):
        direct = sorted(
            {room(o) for m, f in MODULES.items() if room(m) == name for o in modules_imported(f)} - {name, None}
        )
        print(f"  floor {levels[name]}  {name:13s} imports {', '.join(direct) or 'nothing'}")


if __name__ == "__main__":
    main()
