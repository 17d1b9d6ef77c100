"""Finds evaluate modules: those shipped with the package, folders, and Spaces of the Hub."""

from __future__ import annotations

from typing import Any

from hf_guidance.common.shipped_folders import shipped_folder, shipped_folders

_KIND = "metrics"


def metric_path(name: str) -> str:
    """The folder of a metric, for `evaluate.load`.

    Args:
        name: Name of a metric of this library.

    Returns:
        The path of the folder that holds `<name>.py`.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.

    Example:
        >>> epg = evaluate.load(hf_guidance.metric_path("epg"))
    """
    return str(shipped_folder(_KIND, name))


def load_metric(name: str) -> Any:
    """Load an evaluate module; what is added to it is kept in memory.

    Args:
        name: Name of a metric of this library; or, with a slash in it, the id of a metric Space on the Hub, as "org/epg", or
            the path of a folder with `<name>.py`. The code of a Space runs in this process: name one that you trust.

    Returns:
        ``evaluate.EvaluationModule``.

    Raises:
        ValueError: No metric of this library has the name; there is no such folder or Space, or it cannot be reached.
        ImportError: The metric needs a package that is not installed; the message names it.

    Example:
        >>> load_metric("org/epg").name
        'epg'
    """
    import evaluate  # imported here: it takes seconds, and only measuring needs it

    if "/" not in name:
        return evaluate.load(metric_path(name), keep_in_memory=True)
    try:
        return evaluate.load(name, keep_in_memory=True)
    except (FileNotFoundError, ConnectionError) as error:
        script = name.rstrip("/").rpartition("/")[2]
        raise ValueError(
            f"metric {name!r}: there is no folder of this path with {script}.py, and no such Space of the Hub with that file "
            f"was found (a private one needs a login, and HF_HUB_OFFLINE=1 must not be set). Without a slash, "
            f"{sorted(shipped_folders(_KIND))} of this library are known. ({type(error).__name__})"
        ) from error
