"""Stacked attention networks (arXiv 1511.02274): the question looks at boxes several times, each time knowing more."""
