"""Training of image classifiers as a command; ``options`` imports nothing heavy, so that help is quick."""
