"""Guide classifiers by boxes over a grid: model x attribution x layer x loss x weight x fraction x dilation (arXiv 2303.11932).

    python examples/run_model_guidance.py examples/model_guidance/digits.yaml
    python examples/run_model_guidance.py --models bcos --losses energy l1 --layers input --output_dir runs/bcos

A classifier of each model is trained without guidance, then fine-tuned once for every cell; the validation split is evaluated
after every epoch, and of the Pareto-optimal models the representative one (highest EPG at most 5 points of F1 below the
baseline) is tested. One row a run in <output_dir>/grid.csv, fronts in <output_dir>/fronts-*.png; stopped anywhere, a second
call goes on. Cells of loss "baseline" are not trained, those of loss "unguided" without guidance.
"""

import sys

from transformers.utils import logging

from hf_guidance.training.grid import DataArguments, GridArguments, parsed, run_grid


def main() -> None:
    options, data = parsed(sys.argv[1:], (GridArguments, DataArguments))
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    rows = run_grid(options, data)
    print(f"{len(rows)} rows in grid.csv, fronts-*.png beside it")


if __name__ == "__main__":
    main()
