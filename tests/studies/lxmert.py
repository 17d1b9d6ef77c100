"""LXMERT, a small one from scratch, through examples/run_guided_vqa.py: unguided, VisFIS, and VisFIS with random importance.

The weights are UpDn's: those of the papers for LXMERT (Align 1e-6, its code 1e-5) are made for fine-tuning a pretrained one.
Twice the questions of the other studies, one layer of each kind and larger initial weights, for it learns slower than UpDn:
found on the dev split of seed 100, which the table does not use. The settings of all arms are the same.
"""

import json
import os
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from scripts import run_script
from studies.questions_common import TASK, Table

TRAIN_SIZE = 4800
CONFIG = {"l_layers": 1, "x_layers": 1, "r_layers": 1, "initializer_range": 0.1}
COMMON = ("--model_type", "lxmert", "--model_config", json.dumps(CONFIG), "--num_train_epochs", "20",
          "--learning_rate", "1e-3", "--warmup_steps", "100",
          "--per_device_train_batch_size", "64", "--per_device_eval_batch_size", "200", "--save_strategy", "no",
          "--report_to", "none", "--logging_strategy", "no", "--disable_tqdm", "true")  # fmt: skip
OPTIONS = ("--recipe_options", json.dumps({"model": "updn", "dataset": TASK, "variant": "official"}))
ARMS = {
    "unguided": ("--recipe", "task_only"),
    "visfis": ("--recipe", "visfis", *OPTIONS),
    "visfis, random": ("--recipe", "visfis", *OPTIONS, "--random_supervision", "true"),
}


def run(output: Path, seeds: list[int]) -> None:
    table = Table("lxmert", output, {arm: (TRAIN_SIZE, *COMMON, *options) for arm, options in ARMS.items()})
    for seed in seeds:
        data = ("--builder_config", json.dumps({"seed": seed, "num_boxes": 12, "train_size": TRAIN_SIZE}))
        for arm, options in ARMS.items():
            if table.has(arm, seed):
                continue
            started = time.time()
            with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                run_script("run_guided_vqa", *COMMON, *options, *data, "--seed", str(seed), "--output_dir", folder)
                after = json.loads((Path(folder) / "results.json").read_text())["after"]
            inside, outside = after["test_id"], after["test_ood"]
            scores = {"id_accuracy": inside["vqa_accuracy"], "ood_accuracy": outside["vqa_accuracy"]}
            scores |= {name: value for name, value in inside.items() if name != "vqa_accuracy"}
            scores = {name: None if value is None else 100 * value for name, value in scores.items()}
            table.add(arm, seed, scores | {"seconds": time.time() - started})
    table.compare("VisFIS beats the baseline", ("visfis", "unguided"))
    table.compare("random supervision is no better than the baseline", ("unguided", "visfis, random"), above=-1)
    table.show(("id_accuracy", "ood_accuracy", "rrr_suff", "rrr_inv", "rrr_unc", "plausibility", "seconds"))
