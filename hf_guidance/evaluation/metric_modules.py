"""Finds the evaluate modules that are shipped with the package."""

from __future__ import annotations

from hf_guidance.common.shipped_folders import shipped_folder


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
    return str(shipped_folder("metrics", name))
