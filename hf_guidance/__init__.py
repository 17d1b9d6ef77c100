"""Guide vision models to be right for the right reasons: a transformers.Trainer with losses on attributions.

Names and rooms are loaded when they are first asked for. The first of them also makes this library's models known to the Auto
classes of transformers, as ``import hf_guidance.models`` does; the first name registers its pipelines, too, as
``import hf_guidance.apps.pipelines`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_guidance import recipes
    from hf_guidance.apps.report import report
    from hf_guidance.data import (
        AnswerVocabulary,
        GuidanceCollator,
        QuestionCollator,
        RegionFeatures,
        RowCollator,
        annotated_indices,
        dataset_builder,
        export_dataset,
        with_annotated_fraction,
    )
    from hf_guidance.evaluation import Grounding, explain, explain_answer, load_front, load_representative, metric_path
    from hf_guidance.families import Family, family_of
    from hf_guidance.forward import Forward
    from hf_guidance.guidance import Guidance, Term, WeightSchedule
    from hf_guidance.training import AttributionPanel, GuidanceArguments, GuidedTrainer, ParetoCheckpoints, Sweep

__version__ = "0.1.0"  # the one place: the package that is built takes it from here

__all__ = [
    "AnswerVocabulary",
    "AttributionPanel",
    "Family",
    "Forward",
    "Grounding",
    "Guidance",
    "GuidanceArguments",
    "GuidanceCollator",
    "GuidedTrainer",
    "ParetoCheckpoints",
    "QuestionCollator",
    "RegionFeatures",
    "RowCollator",
    "Sweep",
    "Term",
    "WeightSchedule",
    "annotated_indices",
    "dataset_builder",
    "explain",
    "explain_answer",
    "export_dataset",
    "family_of",
    "load_front",
    "load_representative",
    "metric_path",
    "recipes",
    "report",
    "with_annotated_fraction",
]

_ROOMS = (
    "data",
    "models",
    "families",
    "forward",
    "guidance",
    "evaluation",
    "training",
    "apps.report",
)  # that hold the names above


def _loaded(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("hf_guidance.models")
    if name in __all__ and name != "recipes":
        found = next(room for room in map(import_module, (f"hf_guidance.{r}" for r in _ROOMS)) if hasattr(room, name))
        import_module("hf_guidance.apps.pipelines")  # not with a room, which another room may be loading
        globals()[name] = getattr(found, name)
        return globals()[name]
    try:
        return import_module(f"hf_guidance.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"hf_guidance.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {sorted(__all__)}") from None


if not TYPE_CHECKING:  # to a type checker a misspelt name must stay an error
    __getattr__ = _loaded


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
