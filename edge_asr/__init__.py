"""edge-asr: on-device speech recognition that stops computing when it is sure.

Example:
    >>> from edge_asr import Recognizer  # doctest: +SKIP
    >>> Recognizer.load("en-tiny").transcribe("talk.wav").text  # doctest: +SKIP
    'the words of the talk'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_asr import errors
    from edge_asr.runtime.budget import Budget
    from edge_asr.runtime.monitor import Monitor
    from edge_asr.runtime.recognizer import Recognizer
    from edge_asr.runtime.stream import Stream
    from edge_asr.runtime.transcript import Transcript

__version__ = "0.1.0"
__all__ = ["Budget", "Monitor", "Recognizer", "Stream", "Transcript", "__version__", "errors"]

_HOMES = {
    "Budget": "edge_asr.runtime.budget",
    "Monitor": "edge_asr.runtime.monitor",
    "Recognizer": "edge_asr.runtime.recognizer",
    "Stream": "edge_asr.runtime.stream",
    "Transcript": "edge_asr.runtime.transcript",
}


def __getattr__(name: str) -> object:
    """Imports the public names on first use, so that ``import edge_asr`` is instant and loads no engine."""
    from importlib import import_module

    if name == "errors":
        return import_module("edge_asr.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
