"""Matplotlib, which is an optional extra, without a display."""

from __future__ import annotations

from typing import Any

from edge_asr.errors import MissingExtraError


def load_pyplot() -> Any:
    """``matplotlib.pyplot``, drawing to files alone.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'edge-asr[plots]'") from error
    return pyplot
