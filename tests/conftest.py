"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.fake_bundle import write_fake_bundle

# Machines that run tests beside other work are slow at times; an example's duration says nothing here.
settings.register_profile("edge-asr", deadline=None)
settings.load_profile("edge-asr")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the project's sources."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def samples(repository: Path) -> Path:
    """The folder of the sample recordings."""
    return repository / "samples"


@pytest.fixture(scope="session")
def fake_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose words mean nothing; tests must not change it (see `fake_model_copy`)."""
    return write_fake_bundle(tmp_path_factory.mktemp("bundles") / "fake")


@pytest.fixture
def fake_model_copy(tmp_path: Path) -> Path:
    """The same bundle, for tests that change it."""
    return write_fake_bundle(tmp_path / "fake")
