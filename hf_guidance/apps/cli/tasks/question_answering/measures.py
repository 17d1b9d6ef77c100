"""What is measured of a model that answers questions."""

from __future__ import annotations

from typing import Any

import evaluate
from torch.utils.data import DataLoader

from hf_guidance.attributions import Attribution, Gradient, PredictedLogit
from hf_guidance.evaluation import metric_path
from hf_guidance.evaluation.scores import explanation_metrics, explanation_scores
from hf_guidance.training import GuidedTrainer

RIGHT_REASONS = ("rrr_suff", "rrr_unc", "rrr_inv", "plausibility")


def vqa_accuracy(trainer: GuidedTrainer, rows: Any) -> float:
    """The accuracy of VQA of the best-scored answers.

    Args:
        trainer: Holds the model and the collator.
        rows: The questions, with their answers: a dataset, or a list of rows.

    Returns:
        A share in [0, 1].
    """
    names = trainer.model.config.id2label
    predicted = [names[int(label)] for label in trainer.predict(rows).predictions.argmax(-1)]
    metric = evaluate.load(metric_path("vqa_accuracy"), keep_in_memory=True)
    given = rows["answers"] if hasattr(rows, "column_names") else [row["answers"] for row in rows]
    return float(metric.compute(predictions=predicted, references=list(given))["vqa_accuracy"])


def measured(
    trainer: GuidedTrainer, rows: Any, threshold: float, attribution: Attribution | None = None
) -> dict[str, float | None]:
    """VQA accuracy; and, where questions have importance, RRR and plausibility.

    Args:
        trainer: Holds the model and the collator.
        rows: The questions.
        threshold: A box is important above it.
        attribution: Whose plausibility is measured; by default the gradient of the predicted answer.

    Returns:
        Name to value; None where a metric is defined for no question.
    """
    results: dict[str, float | None] = {"vqa_accuracy": vqa_accuracy(trainer, rows)}
    collator = trainer.data_collator.for_evaluation()
    loader = DataLoader(rows, batch_size=trainer.args.per_device_eval_batch_size, collate_fn=collator)
    explained = attribution or Gradient(target=PredictedLogit())
    scores = explanation_scores(trainer.model, trainer.family, loader, attribution=explained, threshold=threshold)
    if scores["has_importance"].any():
        results |= {name: v for name, v in explanation_metrics(scores).items() if name in RIGHT_REASONS}
    return results
