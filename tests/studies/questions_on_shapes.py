"""HINT and VisFIS on shapes_vqa, which is made on the fly: what the papers say, measured again in miniature.

    python tests/studies/questions_on_shapes.py [--study hint] [--seeds 3]

Prints a table per study (mean and standard deviation over the seeds) and writes runs/study/<study>.json after every run; a
second call goes on where the first stopped, unless settings changed.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from studies.common import quiet
from studies.questions_common import quiet_training

STUDIES = {"hint": "hint.run", "visfis": "visfis_tables.run", "lxmert": "lxmert.run",
           "compared": "compared.run", "adversary_weights": "compared.choose_weights",
           "hint_weights": "hint.choose_weights", "alignment_weights": "visfis_tables.choose_weights"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--study", choices=STUDIES, action="append", help="may be repeated; default: hint, visfis and lxmert"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first_seed", type=int, default=0, help="seeds are first_seed, first_seed + 1, ...")
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    options = parser.parse_args()
    quiet()
    quiet_training()
    for study in options.study or ("hint", "visfis", "lxmert"):
        module, function = STUDIES[study].split(".")
        seeds = list(range(options.first_seed, options.first_seed + options.seeds))
        getattr(importlib.import_module(f"studies.{module}"), function)(options.output, seeds)


if __name__ == "__main__":
    main()
