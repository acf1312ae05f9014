"""Errors: one base, the fitting builtin, and messages that name file and field."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import edge_asr
from edge_asr import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.AudioError, ValueError),
        (errors.AudioNotFoundError, FileNotFoundError),
        (errors.BundleError, ValueError),
        (errors.UnknownModelError, LookupError),
        (errors.OptionError, ValueError),
        (errors.DataError, ValueError),
        (errors.MissingExtraError, ImportError),
        (errors.PeerError, RuntimeError),
        (errors.StreamClosedError, RuntimeError),
        (errors.NumericError, ArithmeticError),
    ],
)
def test_errors_are_builtins_too(error: type[errors.EdgeAsrError], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, errors.EdgeAsrError)
    assert str(error("what is wrong")) == "what is wrong"


def test_all_errors_are_listed() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert found == set(errors.__all__)


def test_a_bundle_error_names_file_and_field_also_after_pickling() -> None:
    error = errors.BundleError("missing", file="bundle.json", field="encoder.dim")
    assert str(error) == "bundle.json: field 'encoder.dim': missing"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.file, copy.field, str(copy)) == ("bundle.json", "encoder.dim", str(error))


def test_the_package_exports_lazily() -> None:
    assert edge_asr.__version__ == "0.1.0"
    assert edge_asr.Recognizer.__name__ == "Recognizer"
    assert edge_asr.Stream.__name__ == "Stream"
    assert edge_asr.Transcript.__name__ == "Transcript"
    assert set(edge_asr.__all__) == set(dir(edge_asr))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edge_asr.nothing


def test_importing_the_package_loads_no_engine() -> None:
    code = "import edge_asr, sys; print([m for m in ('numpy', 'onnxruntime', 'soundfile') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
