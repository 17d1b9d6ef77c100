"""Print the table of docs/second-order.md: a guided step of every architecture in every setting, its error or its refusal.

python tests/tools/print_settings.py [ARCHITECTURE...]
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from every_setting.architectures import ARCHITECTURES
from every_setting.table import Cells, page
from transformers.utils import logging

if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    chosen = [a for a in ARCHITECTURES if a.builder in sys.argv[1:] or not sys.argv[1:]]
    # Trainers print their logs.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        text = page(Cells(chosen, Path(folder)))
    print(text, end="")
