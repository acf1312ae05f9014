"""The network: frontend, encoder with exits, and their configuration (needs the ``train`` extra)."""
