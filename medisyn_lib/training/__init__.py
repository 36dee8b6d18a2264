"""Training: one loop, and the loss of each network."""
