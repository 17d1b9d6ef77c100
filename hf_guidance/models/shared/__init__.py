"""What the models share: sizes of ResNets, and reading checkpoint files of other code."""
