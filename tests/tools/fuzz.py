"""Run broken documents through every reader, and write what became of them into docs/reliability.md.

    python tests/tools/fuzz.py --inputs 100000

Ends with 1 where a reader did anything but read or raise a documented error; its seeds are printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from targets import TARGETS, Count, fuzz
from tqdm import tqdm

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- written by tests/tools/fuzz.py -->", "<!-- end -->"


def table(counts: dict[str, Count]) -> str:
    """The counts as a table of Markdown."""
    lines = ["| what is read | inputs | read | refused by a documented error | faults |", "|---|---|---|---|---|"]
    for name, count in counts.items():
        numbers = (count.taken + count.refused + len(count.faults), count.taken, count.refused, len(count.faults))
        lines.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    every = [count.taken + count.refused + len(count.faults) for count in counts.values()]
    return "\n".join([*lines, f"\n{sum(every):,} inputs in all."])


def write(text: str) -> None:
    """Put the table between its marks on the page."""
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n{text}\n{page[end:]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs over all readers")
    parser.add_argument("--first", type=int, default=0, help="first seed: other seeds, other inputs")
    parser.add_argument("--only", choices=TARGETS, help="one reader")
    parser.add_argument("--dry-run", action="store_true", help="print the table, and leave the page as it is")
    options = parser.parse_args()
    counts = {}
    for name, target in TARGETS.items():
        if options.only not in (None, name):
            continue
        inputs = options.inputs if options.only else round(target.share * options.inputs)
        seeds = range(options.first, options.first + inputs)
        with tempfile.TemporaryDirectory() as folder, tqdm(seeds, desc=name, mininterval=5) as bar:
            counts[name] = fuzz(target, Path(folder), seeds, bar.update)
        for seed, error in counts[name].faults[:20]:
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{name}, seed {seed}: {type(error).__name__}: {error!s:.200} ({place.filename}:{place.lineno})")
    print(table(counts))
    if not (options.dry_run or options.only):
        write(table(counts))
    return int(any(count.faults for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
