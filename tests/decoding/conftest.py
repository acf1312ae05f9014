"""A small language model for all tests of decoding."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asr.decoding.ngram import NgramModel
from tests.decoding.toy_lm import toy_model


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    return toy_model(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="session")
def lm_file(lm: NgramModel) -> Path:
    return lm.file.path
