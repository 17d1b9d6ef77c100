"""The command line ``hf-guidance``: one file a command; what they share is in ``application`` and ``output``.

To add a command: a file with a function decorated by ``application.app.command``, and its name in ``entry.COMMANDS``. Modules
here load nothing heavy: torch and transformers are imported inside the functions that work, so that help is quick.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``hf-guidance`` with the words of the command line, and end the process with its exit code."""
    from hf_guidance.apps.cli.entry import run

    sys.exit(run(sys.argv[1:]))
