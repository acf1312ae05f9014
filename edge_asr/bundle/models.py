"""Models by name: bundles shipped inside the package, and those in the folders of ``EDGE_ASR_MODELS``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge_asr.errors import UnknownModelError

VARIABLE = "EDGE_ASR_MODELS"
"""Environment variable: directories that hold bundles, separated like those of ``PATH``."""
SHIPPED = Path(__file__).parent.parent / "models"


def model_folders() -> list[Path]:
    """Gives the directories that may hold models: those of ``EDGE_ASR_MODELS`` first, then the package's."""
    added = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [*(Path(folder).expanduser() for folder in added if folder), SHIPPED]


def known_models() -> dict[str, Path]:
    """Gives the bundle of each model that can be loaded by name.

    A model's name is that of its directory; a directory is a bundle if it holds ``bundle.json``. No file is
    opened.

    Example:
        >>> isinstance(known_models(), dict)
        True
    """
    models: dict[str, Path] = {}
    for folder in model_folders():
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if (path / "bundle.json").is_file():
                    models.setdefault(path.name, path)
    return dict(sorted(models.items()))


def resolve(model: str | Path) -> Path:
    """Finds a model's bundle.

    Args:
        model: A name from `known_models`, or a bundle's directory. A known name wins over a directory called
            the same.

    Returns:
        The bundle's directory.

    Raises:
        UnknownModelError: If it is neither; the message names the known models.
    """
    models = known_models()
    if isinstance(model, str) and model in models:
        return models[model]
    with suppress(OSError, RuntimeError, ValueError):  # a name too long, a home that nobody has, a zero byte
        if str(model) and Path(model).expanduser().is_dir():
            return Path(model).expanduser()
    known = ", ".join(models) if models else f"none (set {VARIABLE} to a directory that holds bundles)"
    raise UnknownModelError(f"model {str(model)!r} is neither a known model nor a directory; known models: {known}")
