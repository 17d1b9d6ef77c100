"""The metrics that ``hf-guidance evaluate --metrics`` names: each must take maps and masks, or be "rrr"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_guidance.apps.cli.application import check_known, given_by, refuse
from hf_guidance.common.shipped_folders import shipped_folders
from hf_guidance.evaluation.metric_modules import load_metric
from hf_guidance.evaluation.right_reasons import METRIC as EDITED

_OPTION = "--metrics"
_COLUMNS = {"predictions", "references"}


def check_metrics(names: Sequence[str]) -> None:
    """Refuse metrics that do not exist, or take something else than maps and masks; "rrr" takes predictions on edited images.

    Args:
        names: Metrics of this library, or with a slash folders or Spaces of the Hub.

    Raises:
        typer.BadParameter: There is none, or one of them does not fit.
    """
    if not names:
        refuse(
            "there is no name in it; give names of metrics, as epg,attribution_iou, or leave the option out.", _OPTION
        )
    for name in names:
        if "/" not in name:
            check_known(name, shipped_folders("metrics"), _OPTION)
    for name in names:
        with given_by(_OPTION):
            metric = load_metric(name)
        if name != EDITED and not _takes_maps(metric.features):
            refuse(f"{name} takes {' and '.join(metric.features)}, which are no maps; give one such as epg.", _OPTION)


def _takes_maps(features: Any) -> bool:
    """Whether predictions and references are planes; a metric of the Hub may say it in a way that is not known here."""
    if not isinstance(features, Mapping):
        return True
    return set(features) == _COLUMNS and not any(_is_flat(feature) for feature in features.values())


def _is_flat(feature: Any) -> bool:
    """Whether a feature is a number, or a list of numbers."""
    inner = getattr(feature, "feature", feature)
    return hasattr(inner, "dtype") and not hasattr(inner, "feature") and not hasattr(feature, "shape")
