"""Models by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_asr.bundle import models
from edge_asr.errors import UnknownModelError


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two places with bundles, and an empty package."""
    for name in ("one/en-a", "two/en-a", "two/en-b", "two/not-a-bundle"):
        (tmp_path / name).mkdir(parents=True)
        if "not" not in name:
            (tmp_path / name / "bundle.json").touch()
    monkeypatch.setenv(models.VARIABLE, os.pathsep.join([str(tmp_path / "one"), "", str(tmp_path / "two")]))
    monkeypatch.setattr(models, "SHIPPED", tmp_path / "shipped")
    return tmp_path


def test_known_models(folders: Path) -> None:
    assert models.known_models() == {"en-a": folders / "one" / "en-a", "en-b": folders / "two" / "en-b"}


def test_shipped_models_come_last(folders: Path) -> None:
    for name in ("en-a", "en-z"):
        (folders / "shipped" / name).mkdir(parents=True)
        (folders / "shipped" / name / "bundle.json").touch()
    known = models.known_models()
    assert known["en-a"] == folders / "one" / "en-a"
    assert known["en-z"] == folders / "shipped" / "en-z"


def test_resolving(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.resolve("en-b") == folders / "two" / "en-b"
    assert models.resolve(folders / "two" / "en-a") == folders / "two" / "en-a"
    assert models.resolve(str(folders / "two" / "en-a")) == folders / "two" / "en-a"
    monkeypatch.chdir(folders / "two")
    assert models.resolve("not-a-bundle") == Path("not-a-bundle")  # a directory; loading says what it lacks
    assert models.resolve("en-a") == folders / "one" / "en-a"  # a known name wins
    assert models.resolve(Path("en-a")) == Path("en-a")  # unless a path is meant


@pytest.mark.parametrize(
    "model", ["en-huge", "no/such/place", Path("no-place"), "", "a" * 300, "~nobody-of-that-name/x", "a\0"]
)
def test_unknown_models_name_the_known(folders: Path, model: str | Path) -> None:
    with pytest.raises(UnknownModelError, match="known models: en-a, en-b") as caught:
        models.resolve(model)
    assert repr(str(model)) in str(caught.value)


def test_no_model_at_all(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.VARIABLE, "")
    with pytest.raises(UnknownModelError, match=r"known models: none \(set EDGE_ASR_MODELS"):
        models.resolve("en-a")
