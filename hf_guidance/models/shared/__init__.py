"""What the models share: sizes of ResNets, and checkpoints of others."""
