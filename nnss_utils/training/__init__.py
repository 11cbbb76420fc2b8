"""Training: random frames of a pair, a loss, one loop for every network, and checkpoints."""
