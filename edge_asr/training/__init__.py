"""Training from scratch: data, losses and the trainer (needs the ``train`` extra)."""
