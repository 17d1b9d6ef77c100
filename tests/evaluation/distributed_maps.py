"""An extraction for test_map_folders.py, by torchrun with two processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from extracting import PROCESSOR, rows_of
from tiny import BUILDERS

from hf_guidance.evaluation import extract_maps
from hf_guidance.evaluation.extraction import shards


def extracted(folder):
    torch.manual_seed(0)
    return extract_maps(BUILDERS["resnet"](), rows_of(), folder, PROCESSOR, shard_rows=2, batch_size=2)


if __name__ == "__main__":
    folder, write = Path(sys.argv[1]), shards.write_shard
    written = []
    shards.write_shard = lambda file, *rest: (written.append(file.name), write(file, *rest))
    assert len(extracted(folder)) == len(rows_of())
    folder.with_name(f"{os.environ['RANK']}.txt").write_text(" ".join(name[9:10] for name in written))
