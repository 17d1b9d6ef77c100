"""A batch of a collate function that knows nothing of guidance is refused with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_guidance.data.columns import ANNOTATED, HUMAN_MAP, IMPORTANCE
from hf_guidance.evaluation.grounding import Grounding
from hf_guidance.guidance import Guidance
from hf_guidance.objectives import AttributionObjective


def refuse_unexplained(inputs: Mapping[str, Any], guidance: Guidance, grounding: Grounding | None = None) -> None:
    """Raise where a batch lacks the columns that terms on attributions, or grounding, read as importance.

    Args:
        inputs: The batch. One in which no explained row is annotated needs no importance.
        guidance: The terms.
        grounding: The metrics of attributions, in evaluation.

    Raises:
        ValueError: A column is missing.
    """
    objectives = [term.objective for term in guidance.on_attributions.values()]
    read = {each.importance for each in objectives if isinstance(each, AttributionObjective)}
    missing = sorted((read if grounding is None else read | {grounding.importance}) - set(inputs))
    if missing and (ANNOTATED not in inputs or any(inputs[ANNOTATED])):
        if HUMAN_MAP in missing and IMPORTANCE in inputs:
            raise ValueError(
                f"the batch has no {missing}, which guidance reads, and has {sorted(inputs)}; QuestionCollator(..., "
                f"map_size=(14, 14)) makes {HUMAN_MAP!r} of the rows' column 'mask'."
            )
        raise ValueError(
            f"the batch has no {missing}, which guidance reads; the collate function makes {sorted(inputs)}. Wrap it, "
            "data_collator=ExplainedRowsCollator(collate_fn, GuidanceCollator(None, problem_type, num_labels)) of "
            "hf_guidance.data, or give a GuidanceCollator in its place."
        )
