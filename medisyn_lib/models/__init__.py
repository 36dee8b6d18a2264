"""Networks, encoders and their weights."""
