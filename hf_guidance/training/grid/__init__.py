"""Grids of guided image classifiers (arXiv 2303.11932): model x attribution x layer x loss x weight x fraction x dilation.

A classifier of each kind is trained without guidance, then fine-tuned once per cell of the grid; every run leaves a line in a
CSV, and a grid that was stopped goes on where it was. Options come as two dataclasses, from code or from a YAML file
(``parsed``). This loads scikit-learn, so ``hf_guidance.training`` does not import it: import it by its own name.
"""

from hf_guidance.training.grid.arguments import DataArguments, GridArguments
from hf_guidance.training.grid.cells import cells_of, guidance_of
from hf_guidance.training.grid.options import parsed
from hf_guidance.training.grid.runs import run_grid

__all__ = ["DataArguments", "GridArguments", "cells_of", "guidance_of", "parsed", "run_grid"]
