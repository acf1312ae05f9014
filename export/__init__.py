"""Turns a checkpoint into a bundle.

Graphs, quantisation, parity checks, costs and the model card (``python -m export``).
"""
