"""cards_voc and bccd_voc: unguided to convergence, then guided, each against an equally long control."""

from pathlib import Path

import numpy as np
from studies.common import Results, Stage, Task, load_voc, measure, moved, start_weights, train

SIZE = 128
TO_CONVERGENCE = Stage(epochs=100, learning_rate=2e-3)
UNGUIDED = Stage(epochs=25, learning_rate=3e-4)
GUIDED = Stage(epochs=25, learning_rate=3e-4, weight=0.3)
ARMS = {"unguided": UNGUIDED, "guided": GUIDED, "moved boxes": moved(GUIDED)}
COLUMNS = (
    "f1", "f1_chosen", "map", "epg", "attribution_iou", "undefined_share", "train_epg", "logged_undefined",
)  # fmt: skip


def everything_everywhere(task: Task) -> float:
    """Micro-F1, in percent, of the answer "every class in every test image"."""
    positives = sum(len(set(row["labels"])) for row in task.test)
    precision = positives / (len(task.test) * len(task.classes))
    return 100 * 2 * precision / (precision + 1)


def run_voc(name: str, folder: Path, output: Path, seeds: int) -> tuple[Results, Task]:
    task = load_voc(name, folder, SIZE)
    area = np.mean([_box_share(row) for row in task.test])
    results = Results(
        name, output, {"start": TO_CONVERGENCE, **ARMS},
        f1_of_every_class_everywhere=round(everything_everywhere(task), 1),
        mean_share_of_the_image_in_boxes=round(100 * float(area), 1),
    )  # fmt: skip
    for seed in range(seeds):
        start = start_weights(task, TO_CONVERGENCE, seed, output)
        results.add("start", seed, measure(train(task, Stage(0, 1e-3), seed, start), task))
        for arm, stage in ARMS.items():
            results.add(arm, seed, measure(train(task, stage, seed, start), task))
    return results, task


def _box_share(row) -> float:
    """The mean share of the image that the boxes of one class cover, over the classes of an image."""
    shares = []
    for label in set(row["labels"]):
        mask = np.zeros((SIZE, SIZE), bool)
        for xmin, ymin, xmax, ymax in (
            np.array(o["bbox"]).astype(int) for o in row["objects"] if o["category"] == label
        ):
            mask[ymin:ymax, xmin:xmax] = True
        shares.append(mask.mean())
    return float(np.mean(shares)) if shares else 0.0


def run(data: Path, output: Path, seeds: int) -> None:
    results, _ = run_voc("cards", data / "cards_voc", output, seeds)
    results.check("EPG at least +10 over unguided", ("epg", "guided", "unguided"), low=10)
    results.check("micro-F1 at most 3 lower", ("f1", "guided", "unguided"), low=-3)
    results.check("mAP at most 2 lower", ("map", "guided", "unguided"), low=-2)
    results.check("moved boxes: EPG at most +5", ("epg", "moved boxes", "unguided"), high=5)
    results.show(COLUMNS)
