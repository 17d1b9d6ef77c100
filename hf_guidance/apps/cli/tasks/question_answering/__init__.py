"""Training of models that answer questions over boxes, as a command; ``options`` imports nothing heavy."""
