"""Guidance on real photographs, trained from scratch: cards, nuts (also as Waterbirds), cells, and how guidance fails.

    python tests/studies/real_photos.py --data <folder with cards_voc, bccd_voc, nuts_on_places> [--study nuts] [--seeds 3]

Prints a table per study (mean and standard deviation over the seeds) and writes runs/study/<study>.json after every run.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from studies.common import quiet

STUDIES = ("cards", "nuts", "cells", "failures", "waterbirds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cards_voc, bccd_voc and nuts_on_places")
    parser.add_argument("--study", choices=STUDIES, action="append", help="may be repeated; default: all of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is not a folder; give the one with cards_voc, bccd_voc, nuts_on_places.")
    quiet()
    for study in options.study or STUDIES:
        importlib.import_module(f"studies.{study}").run(options.data, options.output, options.seeds)


if __name__ == "__main__":
    main()
