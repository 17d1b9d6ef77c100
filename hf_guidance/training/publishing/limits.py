"""What a guided model does not promise, in plain words."""

from __future__ import annotations

from hf_guidance.common.card_text import code
from hf_guidance.guidance import Guidance
from hf_guidance.training.publishing.annotations import AnnotationFacts
from hf_guidance.training.publishing.terms import attributions_in


def limits_of(guidance: Guidance, annotations: AnnotationFacts, questions: bool, captions: bool = False) -> list[str]:
    """The limits that hold for a model, as Markdown.

    Args:
        guidance: Its terms.
        annotations: What guided it.
        questions: Whether it answers questions over boxes.
        captions: Whether it captions images.
    """
    told = []
    if annotations.control:
        told.append(
            "**This model is a control**: its importance lay at the wrong places on purpose. It shows what guidance must beat."
        )
    if guidance.guided:
        told += _of_guidance(guidance, annotations, "words" if captions else "classes")
    told.append(
        "A map that lies inside an annotation does not prove that the model decides by what is there, nor that the "
        "annotation is right."
    )
    if questions:
        told.append(
            "Scores of being right for the right reasons (RRR-Suff, RRR-Inv, RRR-Unc) and plausibility do not predict "
            "accuracy on other data (arXiv 2206.11212): measure on such data."
        )
    else:
        told.append(
            "Better grounding here does not predict accuracy on other data, nor do metrics of being right for the right "
            "reasons (RRR; arXiv 2206.11212): measure on such data."
        )
    return told


def _of_guidance(guidance: Guidance, annotations: AnnotationFacts, explained: str) -> list[str]:
    told = []
    maps = dict.fromkeys(
        f"{code(type(read).__name__)} at layer {code(read.layer)}"
        for term in guidance.guided.values()
        for read in attributions_in(term.objective)
    )
    if maps:
        told.append(
            f"**Guidance can be gamed.** Training moved the maps of {' and '.join(maps)}. A model can learn to show a good map "
            "and still use the background; maps of other methods or layers may look different. Compare several, and edit the "
            "inputs."
        )
    else:
        told.append(
            "**Guidance can be gamed.** A model can learn what edited inputs look like: look at its maps too, and at other "
            "edits."
        )
    rows = annotations.rows.rows
    if annotations.annotated is not None and rows and annotations.annotated < rows:
        told.append(
            f"Only {annotations.annotated / rows:.1%} of the training rows were annotated; the others moved the task loss only."
        )
    told.append(
        f"Only {explained} and rows with annotations were guided. Of others nothing is known, nor of data with other biases "
        "than those of the training set."
    )
    if guidance.on_attributions:
        told.append(
            "A map without positive attribution counts in a loss but can no longer be guided; their share is told with each "
            "term."
        )
    return told
