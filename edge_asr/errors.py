"""Errors: one base class; each error also is the fitting builtin, and says name, value and what is allowed.

Example:
    >>> try:
    ...     raise OptionError("exit=9: expected 1 to 6 or 'auto'")
    ... except ValueError as error:
    ...     print(error)
    exit=9: expected 1 to 6 or 'auto'
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AudioError",
    "AudioNotFoundError",
    "BundleError",
    "DataError",
    "EdgeAsrError",
    "LanguageModelError",
    "MissingExtraError",
    "NumericError",
    "OptionError",
    "PeerError",
    "StreamClosedError",
    "UnknownModelError",
]


class EdgeAsrError(Exception):
    """Base of every error that edge-asr raises on purpose."""


class AudioError(EdgeAsrError, ValueError):
    """Audio that can't be used: empty, not an audio file, with NaN or infinity, of an unknown type."""


class AudioNotFoundError(EdgeAsrError, FileNotFoundError):
    """An audio file that doesn't exist."""


class BundleError(EdgeAsrError, ValueError):
    """A bundle that is incomplete, damaged, foreign, or of another version.

    Args:
        message: What is wrong and what is expected.
        file: The file at fault.
        field: The field at fault inside the file, as a path like ``encoder.exits``; empty if the whole file
            is.

    Attributes:
        file: The file at fault.
        field: The field at fault, or ``""``.

    Example:
        >>> print(BundleError("missing", file="bundle.json", field="encoder.dim"))
        bundle.json: field 'encoder.dim': missing
    """

    def __init__(self, message: str, *, file: str | Path = "", field: str = "") -> None:
        self.message = message
        self.file = str(file)
        self.field = field
        parts = [self.file] if self.file else []
        if field:
            parts.append(f"field {field!r}")
        super().__init__(": ".join([*parts, message]))

    def __reduce__(self) -> tuple[object, ...]:
        return _bundle_error, (self.message, self.file, self.field)


def _bundle_error(message: str, file: str, field: str) -> BundleError:
    return BundleError(message, file=file, field=field)


class LanguageModelError(BundleError):
    """A language-model file that is missing, cut off, foreign, of another version, or contradicts itself."""

    def __reduce__(self) -> tuple[object, ...]:
        return _language_model_error, (self.message, self.file, self.field)


def _language_model_error(message: str, file: str, field: str) -> LanguageModelError:
    return LanguageModelError(message, file=file, field=field)


class UnknownModelError(EdgeAsrError, LookupError):
    """A model name that stands for no bundle; the message names the known ones."""


class OptionError(EdgeAsrError, ValueError):
    """An option with a value that isn't allowed, like an exit the model lacks."""


class DataError(EdgeAsrError, ValueError):
    """A data set that can't be read or contradicts itself."""


class MissingExtraError(EdgeAsrError, ImportError):
    """An optional dependency that isn't installed; the message says which extra brings it."""


class PeerError(EdgeAsrError, RuntimeError):
    """Another recogniser, run for comparison, that can't be installed or started, ended, or answered nonsense."""


class StreamClosedError(EdgeAsrError, RuntimeError):
    """A stream that was used after its end."""


class NumericError(EdgeAsrError, ArithmeticError):
    """A graph whose output isn't a number; the message names the graph."""
