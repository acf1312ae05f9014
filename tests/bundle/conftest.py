"""A fake bundle that tests may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fake_bundle import write_fake_bundle


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle; not to be changed."""
    return write_fake_bundle(tmp_path_factory.mktemp("bundle") / "fake")


@pytest.fixture
def fake(pristine: Path, tmp_path: Path) -> Path:
    """A copy of a valid bundle."""
    return Path(shutil.copytree(pristine, tmp_path / "fake"))
