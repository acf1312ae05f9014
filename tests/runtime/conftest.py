"""Fake bundles that runtime tests share; the second one has no size in common with the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asr.bundle.bundle import Bundle
from edge_asr.runtime.onnx_engine import OnnxEngine
from edge_asr.runtime.recognizer import Recognizer
from tests.fake_bundle import Sizes, write_fake_bundle
from tests.runtime.helpers import Setup

OTHER = Sizes(
    sample_rate=8_000,
    hop=200,
    overlap=120,
    dim=5,
    exits=5,
    history=9,
    look_ahead=3,
    encoder_overlap=4,
    step_frames=6,
    tail_frames=4,
    allowed=(4, 10),
    default=10,
    full_max_frames=61,
)


@pytest.fixture(scope="session")
def fake_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fake bundle."""
    return write_fake_bundle(tmp_path_factory.mktemp("runtime") / "fake")


@pytest.fixture(scope="session")
def usual(fake_path: Path) -> Setup:
    """The usual sizes."""
    bundle = Bundle.load(fake_path)
    return Setup(bundle, OnnxEngine(bundle))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Other sizes, other rate."""
    bundle = Bundle.load(write_fake_bundle(tmp_path_factory.mktemp("runtime") / "other", OTHER, seed=3))
    return Setup(bundle, OnnxEngine(bundle))


@pytest.fixture(params=["usual", "other"])
def setup(request: pytest.FixtureRequest) -> Setup:
    """Each of the two."""
    result: Setup = request.getfixturevalue(request.param)
    return result


@pytest.fixture(scope="session")
def recognizer(fake_path: Path) -> Recognizer:
    """A recogniser with the usual sizes."""
    return Recognizer.load(fake_path)
