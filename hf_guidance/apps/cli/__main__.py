"""``python -m hf_guidance.apps.cli`` is ``hf-guidance``."""

from hf_guidance.apps.cli import main

main()
