"""``bundle.json``: each field is checked, and the message names it."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asr.bundle.fields import Fields, is_bundle_path
from edge_asr.bundle.schema import BundleSpec
from edge_asr.errors import BundleError


@pytest.fixture(scope="module")
def data(pristine: Path) -> dict[str, Any]:
    """The contents of a valid ``bundle.json``."""
    content: dict[str, Any] = json.loads((pristine / "bundle.json").read_text())
    return content


def changed(data: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy with one field changed, or removed if the value is ``...``."""
    data = copy.deepcopy(data)
    *path, last = field.split("/")
    target: Any = data
    for step in path:
        target = target[int(step) if isinstance(target, list) else step]
    key: Any = int(last) if isinstance(target, list) else last
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return data


def parse(data: dict[str, Any]) -> BundleSpec:
    return BundleSpec.parse(Fields(data, "bundle.json"))


REQUIRED = [
    "format",
    "version",
    "name",
    "language",
    "producer",
    "created",
    "sample_rate",
    "frontend",
    "frontend/file",
    "frontend/hop",
    "frontend/overlap",
    "encoder",
    "encoder/architecture",
    "encoder/dim",
    "encoder/exits",
    "encoder/history",
    "encoder/look_ahead",
    "encoder/step_frames",
    "encoder/tail_frames",
    "encoder/trunk_state",
    "chunks",
    "chunks/default",
    "chunks/allowed",
    "chunks/full_max_frames",
    "tokens",
    "tokens/file",
    "tokens/size",
    "tokens/blank",
    "segments",
    "default_precision",
    "exits",
    "files",
]


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field(data: dict[str, Any], field: str) -> None:
    with pytest.raises(BundleError, match="missing") as caught:
        parse(changed(data, field, ...))
    assert caught.value.field == field.replace("/", ".")
    assert caught.value.file == "bundle.json"


@pytest.mark.parametrize("field", REQUIRED)
@pytest.mark.parametrize("value", [None, True, -3, 0.5, "", [None], {"x": None}])
def test_a_field_of_a_wrong_type(data: dict[str, Any], field: str, value: Any) -> None:
    with pytest.raises(BundleError) as caught:
        parse(changed(data, field, value))
    assert caught.value.field.split(".")[0].split("[")[0] in (field.split("/")[0], "files")


@pytest.mark.parametrize(
    ("field", "value", "named", "message"),
    [
        ("version", 2, "version", "is 2, expected 1"),
        ("version", "1", "version", "is '1', expected 1"),
        ("version", True, "version", "is True"),
        ("sample_rate", 0, "sample_rate", "integer ≥ 1"),
        ("frontend/file", "../other.onnx", "frontend.file", "relative path inside the bundle"),
        ("frontend/file", "/etc/passwd", "frontend.file", "relative path"),
        ("frontend/file", "other.onnx", "files", "lacks 'other.onnx', which frontend.file names"),
        ("encoder/step_frames", 5, "encoder.step_frames", "even"),
        ("encoder/exits", 4, "segments.int8", "has 3 files, expected encoder.exits, 4"),
        ("encoder/trunk_state", {"kv": [2, 0]}, "encoder.trunk_state.kv[1]", "is 0, expected an integer ≥ 1"),
        ("encoder/trunk_state", {"kv": 3}, "encoder.trunk_state.kv", "expected a list"),
        ("chunks/allowed", [], "chunks.allowed", "expected even numbers"),
        ("chunks/allowed", [16, 8], "chunks.allowed", "rising"),
        ("chunks/allowed", [16, 17], "chunks.allowed", "even"),
        ("chunks/default", 12, "chunks.default", "is 12, expected one of allowed"),
        ("chunks/full_max_frames", 4, "chunks.full_max_frames", "integer ≥"),
        ("tokens/blank", 6, "tokens.blank", "less than size, 6"),
        ("segments/int8/1", 7, "segments.int8[1]", "relative path"),
        ("segments/int8", ["a.onnx"] * 3, "files", "lacks 'a.onnx', which segments.int8[0] names"),
        ("segments/int8", ..., "default_precision", "is 'int8', expected one of segments: float32"),
        ("exits/1/exit", 3, "exits[1].exit", "is 3, expected 2"),
        ("exits/1/params", "many", "exits[1].params", "integer"),
        ("exits/1/macs_per_second/640", "x", "exits[1].macs_per_second.640", "finite number"),
        ("exits/1/macs_per_second/640", float("nan"), "exits[1].macs_per_second.640", "finite number"),
        ("exits/2", ..., "exits", "has 2 entries, expected encoder.exits, 3"),
        ("exits/2", 5, "exits[2]", "expected an object"),
        ("files/frontend.onnx/sha256", "ABC", "files.frontend.onnx.sha256", "64 hexadecimal digits"),
        ("files/frontend.onnx/bytes", -1, "files.frontend.onnx.bytes", "integer ≥ 0"),
        ("files/policy.json", {"bytes": 1}, "files.policy.json", "may be listed"),
        ("metrics", [], "metrics", "is a list, expected an object"),
        ("metrics", {"wer": [1.0, float("nan")]}, "metrics", "holds NaN or infinity, expected finite numbers"),
        ("metrics", {"wer": {"a": float("-inf")}}, "metrics", "holds NaN or infinity"),
        ("frontend/hop", 10**6, "frontend.hop", "is 1000000, expected an integer ≤ 10000"),
        ("frontend/overlap", 10**13, "frontend.overlap", "expected an integer ≤ 100000"),
        ("encoder/dim", 10**13, "encoder.dim", "expected an integer ≤ 10000"),
        ("encoder/history", 10**13, "encoder.history", "is 10000000000000, expected an integer ≤ 20000"),
        ("encoder/look_ahead", 10**13, "encoder.look_ahead", "expected an integer ≤ 20000"),
        ("encoder/overlap", 10**13, "encoder.overlap", "expected an integer ≤ 20000"),
        ("encoder/step_frames", 10**13, "encoder.step_frames", "expected an integer ≤ 20000"),
        ("encoder/tail_frames", 10**13, "encoder.tail_frames", "expected an integer ≤ 20000"),
        ("encoder/trunk_state", {"kv": [10**14]}, "encoder.trunk_state.kv", "at most 8 axes and 10000000 numbers"),
        ("encoder/trunk_state", {"kv": [10**4] * 2}, "encoder.trunk_state.kv", "is [10000, 10000], expected at most"),
        ("encoder/trunk_state", {"kv": [1] * 100}, "encoder.trunk_state.kv", "at most 8 axes"),
        ("chunks/allowed", [16, 10**14], "chunks.allowed[1]", "expected an integer ≤ 20000"),
        ("chunks/full_max_frames", 10**14, "chunks.full_max_frames", "expected an integer ≤ 20000"),
    ],
)
def test_a_wrong_value(data: dict[str, Any], field: str, value: Any, named: str, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse(changed(data, field, value))
    assert caught.value.field == named
    assert message in str(caught.value)


def test_unknown_fields_are_left_to_later_minor_changes(data: dict[str, Any]) -> None:
    assert parse(changed(data, "colour", "blue")).name == "fake"


def test_metrics_may_be_left_out(data: dict[str, Any]) -> None:
    assert parse(changed(data, "metrics", ...)).metrics == {}


def test_a_spec_cannot_be_changed(data: dict[str, Any]) -> None:
    spec = parse(data)
    with pytest.raises(AttributeError):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        spec.files["x"] = spec.files["frontend.onnx"]  # type: ignore[index]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab/.", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.data())
def test_whatever_is_put_in_a_field_only_bundle_errors_come_out(data: dict[str, Any], draw: st.DataObject) -> None:
    field = draw.draw(st.sampled_from([*REQUIRED, "segments/int8", "exits/0", "files/tokens.txt", "metrics"]))
    value = draw.draw(ANY_JSON)
    with contextlib.suppress(BundleError):
        parse(changed(data, field, value))


@pytest.mark.parametrize("path", ["a", "int8/segment1.onnx", "a-b/c_d/e.f"])
def test_paths_inside(path: str) -> None:
    assert is_bundle_path(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "../a", "a/../b", "./a", "a//b", "a\\b", "C:/a", "a\0b", 3, None, ["a"]]
)
def test_paths_that_lead_out(path: Any) -> None:
    assert not is_bundle_path(path)
