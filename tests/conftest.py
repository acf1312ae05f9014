"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# Machines that run tests beside other work are slow at times; an example's duration says nothing here.
settings.register_profile("edge-asr", deadline=None)
settings.load_profile("edge-asr")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the project's sources."""
    return Path(__file__).resolve().parent.parent
