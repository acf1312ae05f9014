"""``policy.json``: thresholds belong to the graphs that they were calibrated on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.policy import graphs_digest
from edge_asr.errors import BundleError
from tests.fake_bundle import write_json


def edit(folder: Path, **changes: Any) -> None:
    data = json.loads((folder / "policy.json").read_text())
    data.update(changes)
    (folder / "policy.json").write_text(json.dumps({k: v for k, v in data.items() if v is not ...}))


def test_the_digest_is_that_of_the_contract(pristine: Path) -> None:
    spec = Bundle.load(pristine).spec
    files = ["frontend.onnx", *(f"float32/segment{i}.onnx" for i in (1, 2, 3))]
    lines = [f"{hashlib.sha256((pristine / file).read_bytes()).hexdigest()}  {file}\n" for file in files]
    assert graphs_digest(spec, "float32") == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert graphs_digest(spec, "float32") != graphs_digest(spec, "int8")


def test_a_valid_policy(pristine: Path) -> None:
    policy = Bundle.load(pristine).policy
    assert policy is not None
    assert (policy.precision, policy.criterion) == ("int8", "frame_entropy")
    assert policy.calibration["utterances"] == 1


@pytest.mark.parametrize(
    ("field", "value", "named", "message"),
    [
        ("format", ..., "format", "missing"),
        ("format", "edge-asr-bundle", "format", "expected 'edge-asr-policy'"),
        ("version", 3, "version", "is 3, expected 1 or 2"),
        ("precision", "int4", "precision", "expected one of: int8, float32"),
        ("precision", "float32", "graphs", "calibrated on other graphs"),
        ("graphs", "0" * 64, "graphs", "calibrated on other graphs"),
        ("graphs", ..., "graphs", "missing"),
        ("criterion", 3, "criterion", "expected a text"),
        ("thresholds", [], "thresholds", "expected an object"),
        (
            "thresholds",
            {"999": [1, 2]},
            "thresholds.999",
            "isn't a chunk of this bundle: 320, 640, 1280, full",
        ),
        ("thresholds", {"640": [1]}, "thresholds.640", "has 1 thresholds, expected 2"),
        ("thresholds", {"640": [1, None]}, "thresholds.640[1]", "finite number"),
        ("thresholds", {"full": [1, float("nan")]}, "thresholds.full[1]", "finite number"),
        ("thresholds", {"full": [1, 10**400]}, "thresholds.full[1]", "finite number"),
        ("calibration", 3, "calibration", "expected an object"),
        ("calibration", {"decoder": [1]}, "calibration.decoder", "is [1], expected a text"),
        ("calibration", {"decoder": 3}, "calibration.decoder", "is 3, expected a text"),
        ("calibration", {"loss": float("nan")}, "calibration", "holds NaN or infinity"),
        ("version", True, "version", "is True, expected 1 or 2"),
        ("hysteresis", 0.1, "hysteresis", "allowed from version 2 on"),
        ("temperatures", {}, "temperatures", "allowed from version 2 on"),
        ("decoders", {}, "decoders", "allowed from version 2 on"),
    ],
)
def test_a_wrong_policy(fake: Path, field: str, value: Any, named: str, message: str) -> None:
    edit(fake, **{field: value})
    with pytest.raises(BundleError) as caught:
        Bundle.load(fake)
    assert caught.value.file == str(fake / "policy.json")
    assert caught.value.field == named
    assert message in str(caught.value)


def test_a_policy_for_graphs_that_were_replaced(fake: Path) -> None:
    data = json.loads((fake / "bundle.json").read_text())
    data["files"] = {}
    files = ["frontend.onnx", "tokens.txt", *data["segments"]["int8"], *data["segments"]["float32"]]
    (fake / "int8" / "segment2.onnx").write_bytes((fake / "float32" / "segment2.onnx").read_bytes())
    write_json(fake, data, files)
    with pytest.raises(BundleError, match="field 'graphs'"):
        Bundle.load(fake)


def test_a_policy_that_is_not_json(fake: Path) -> None:
    (fake / "policy.json").write_text("{")
    with pytest.raises(BundleError, match=r"policy\.json: isn't valid JSON"):
        Bundle.load(fake)


def reference(**changes: Any) -> dict[str, Any]:
    entry = {"edges": [0.1, 0.2], "shares": [0.25, 0.25, 0.5], "stop": 0.3} | changes
    return {"640": [entry, {"edges": [], "shares": [1.0], "stop": 0.0}]}


def test_version_2_has_more(fake: Path) -> None:
    edit(
        fake,
        version=2,
        levels={"640": [[1.0, 2.0], [3.0, 4.0]]},
        temperatures={"640": [1.0, 1.5, 1.0]},
        parameters={"640": {"features": []}},
        hysteresis=0.05,
        reference=reference(),
    )
    policy = Bundle.load(fake).policy
    assert policy is not None
    assert policy.levels["640"] == ((1.0, 2.0), (3.0, 4.0))
    assert policy.temperatures["640"] == (1.0, 1.5, 1.0)
    assert policy.parameters["640"] == {"features": []}
    assert policy.hysteresis == 0.05
    assert policy.reference["640"][0].stop == 0.3


def test_decoders_may_have_thresholds_of_their_own(fake: Path) -> None:
    lm = {"criterion": "margin", "thresholds": {"640": [0.1, 0.2]}, "reference": reference(), "hysteresis": 0.1}
    edit(fake, version=2, thresholds={"640": [1.0, 2.0], "full": [3.0, 4.0]}, decoders={"lm": lm, "beam": lm})
    policy = Bundle.load(fake).policy
    assert policy is not None
    own = policy.of("lm", "640")
    assert (own.criterion, own.thresholds, own.hysteresis) == ("margin", {"640": (0.1, 0.2)}, 0.1)
    assert (own.precision, own.graphs, own.exits) == (policy.precision, policy.graphs, policy.exits)
    assert policy.of("lm", "full") is policy.of("greedy", "640") is policy.of(None, "640") is policy
    assert [policy.place(name, "640") for name in ("lm", "beam", "greedy", None)] == [
        "lm/640",
        "beam/640",
        "640",
        "640",
    ]
    assert policy.place("lm", "full") == "full"
    for decoder, chunk in (("lm", "640"), ("lm", "full"), (None, "640")):
        assert policy.at(policy.place(decoder, chunk)) == (policy.of(decoder, chunk), chunk)


@pytest.mark.parametrize(
    ("changes", "named", "message"),
    [
        ({"decoders": []}, "decoders", "expected an object"),
        ({"decoders": {"lm": 3}}, "decoders.lm", "expected an object"),
        ({"decoders": {"lm": {"criterion": "margin"}}}, "decoders.lm.thresholds", "missing"),
        ({"decoders": {"lm": {"thresholds": {"640": [1, 1]}}}}, "decoders.lm.criterion", "missing"),
        (
            {"decoders": {"lm": {"criterion": "margin", "thresholds": {"640": [1]}}}},
            "decoders.lm.thresholds.640",
            "has 1 thresholds, expected 2",
        ),
        ({"levels": {"640": [[1.0]]}}, "levels.640.0", "has 1 thresholds, expected 2"),
        ({"levels": {"640": 3}}, "levels.640", "expected a list"),
        ({"levels": {"641": []}}, "levels.641", "isn't a chunk"),
        ({"temperatures": {"640": [1.0, 1.0]}}, "temperatures.640", "has 2 temperatures, expected 3"),
        ({"temperatures": {"640": [1.0, 0.0, 1.0]}}, "temperatures.640", "expected numbers above 0"),
        ({"hysteresis": -1}, "hysteresis", "expected a number from 0"),
        ({"parameters": {"640": []}}, "parameters.640", "expected an object"),
        ({"reference": reference(edges=[0.2, 0.1])}, "reference.640[0].edges", "aren't ascending"),
        ({"reference": reference(shares=[1.0])}, "reference.640[0].shares", "expected 3 numbers"),
        ({"reference": reference(stop=2)}, "reference.640[0].stop", "a share from 0 to 1"),
        ({"reference": {"640": []}}, "reference.640", "has 0 entries, expected 2"),
    ],
)
def test_a_wrong_policy_of_version_2(fake: Path, changes: dict[str, Any], named: str, message: str) -> None:
    edit(fake, version=2, **changes)
    with pytest.raises(BundleError) as caught:
        Bundle.load(fake)
    assert caught.value.field == named
    assert message in str(caught.value)
