"""``policy.json``: when to stop, calibrated on the files that ship (``edge-asr-policy``, version 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_asr.bundle.fields import Fields
from edge_asr.bundle.schema import BundleSpec

FORMAT = "edge-asr-policy"
VERSION = 1


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """All of ``policy.json``, validated. Source: ``docs/architecture.md``, "The bundle".

    Attributes:
        precision: The precision that the thresholds were calibrated on.
        graphs: Fingerprint of the graphs that they were calibrated on, see `graphs_digest`.
        criterion: Name of the criterion.
        thresholds: By chunk name (``"640"``, ``"full"``), one threshold for each exit but the last.
        calibration: How they came about: data, utterances, wanted loss.
    """

    precision: str
    graphs: str
    criterion: str
    thresholds: Mapping[str, tuple[float, ...]]
    calibration: Mapping[str, Any]

    @classmethod
    def parse(cls, fields: Fields, spec: BundleSpec) -> PolicySpec:
        """Validates the fields of a ``policy.json`` against the bundle that it belongs to.

        Raises:
            BundleError: If a field is missing, wrong, or the thresholds belong to other graphs.
        """
        fields.expect("format", FORMAT, "this file isn't an edge-asr policy")
        fields.expect("version", VERSION, "this edge-asr reads no other version")
        precision = fields.text("precision")
        if precision not in spec.segments:
            fields.fail("precision", f"is {precision!r}, expected one of: {', '.join(spec.segments)}")
        digest = graphs_digest(spec, precision)
        if fields.text("graphs") != digest:
            fields.fail("graphs", f"isn't {digest}: calibrated on other graphs; delete this file and calibrate again")
        entries = fields.mapping("thresholds")
        thresholds = {}
        for chunk in entries:
            if chunk not in spec.chunk_names:
                entries.fail(chunk, f"isn't a chunk of this bundle: {', '.join(spec.chunk_names)}")
            values = entries.numbers(chunk)
            if len(values) != spec.encoder.exits - 1:
                entries.fail(chunk, f"has {len(values)} thresholds, expected {spec.encoder.exits - 1}")
            thresholds[chunk] = values
        calibration = fields.value("calibration") if "calibration" in fields else {}
        if not isinstance(calibration, dict):
            fields.fail("calibration", "expected an object")
        return cls(
            precision=precision,
            graphs=digest,
            criterion=fields.text("criterion"),
            thresholds=MappingProxyType(thresholds),
            calibration=MappingProxyType(calibration),
        )


def graphs_digest(spec: BundleSpec, precision: str) -> str:
    """Computes the fingerprint of a precision's graphs.

    It is the SHA-256 over the lines ``"<sha256>  <path>\\n"`` of the frontend and the segments in running
    order.

    Args:
        spec: The bundle's description; its checksums are used, no file is read.
        precision: A precision that the bundle has.

    Returns:
        64 hexadecimal digits.
    """
    paths = (spec.frontend.file, *spec.segments[precision])
    lines = "".join(f"{spec.files[path].sha256}  {path}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()
