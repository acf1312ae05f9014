"""``policy.json``: when to stop, calibrated on the files that ship (``edge-asr-policy``, versions 1 and 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from edge_asr.bundle.fields import Fields
from edge_asr.bundle.schema import BundleSpec

FORMAT = "edge-asr-policy"
VERSION = 2
"""The version that is written. Version 1 has none of the fields that are optional here; it's read as well."""
_NEW = ("parameters", "levels", "temperatures", "hysteresis", "reference", "decoders")


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """All of ``policy.json``, validated. Source: ``docs/architecture.md``, "The bundle".

    Attributes:
        precision: The precision that the thresholds were calibrated on.
        graphs: Fingerprint of the graphs that they were calibrated on, see `graphs_digest`.
        criterion: Name of the criterion.
        thresholds: By chunk name (``"640"``, ``"full"``), one threshold for each exit but the last.
        calibration: How they came about: data, utterances, wanted loss.
        exits: How many exits the bundle has.
        parameters: By chunk name, what the criterion needs besides (a learned gate's weights).
        levels: By chunk name, further thresholds, each cheaper than the one before; a budget moves along them.
        temperatures: By chunk name, one for each exit, applied to log-probabilities before the criterion.
        hysteresis: See `edge_asr.exits.threshold.ThresholdPolicy`.
        reference: By chunk name, how the criterion was distributed in calibration, for each exit but the last.
        decoders: By decoder name, what was calibrated by that decoder's texts: a search mends what a greedy reading
            doesn't, and can leave earlier. Decoders that aren't there have what is said here.
    """

    precision: str
    graphs: str
    criterion: str
    thresholds: Mapping[str, tuple[float, ...]]
    calibration: Mapping[str, Any]
    exits: int = 0
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    levels: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    temperatures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    hysteresis: float = 0.0
    reference: Mapping[str, tuple[ReferenceSpec, ...]] = field(default_factory=dict)
    decoders: Mapping[str, PolicySpec] = field(default_factory=dict)

    def of(self, decoder: str | None, chunk: str) -> PolicySpec:
        """Gives what holds for a decoder (None for the one that nobody names) and a chunk size."""
        part = self.decoders.get(decoder or "", self)
        return part if chunk in part.thresholds else self

    def place(self, decoder: str | None, chunk: str) -> str:
        """Gives the name under which a device counts a chunk size: ``"640"``, or ``"lm/640"``."""
        return chunk if self.of(decoder, chunk) is self else f"{decoder}/{chunk}"

    def at(self, place: str) -> tuple[PolicySpec, str]:
        """Gives what holds at a `place`, and its chunk name."""
        decoder, _, chunk = place.rpartition("/")
        return self.of(decoder, chunk), chunk

    @classmethod
    def parse(cls, fields: Fields, spec: BundleSpec) -> PolicySpec:
        """Validates the fields of a ``policy.json`` against the bundle that it belongs to.

        Raises:
            BundleError: If a field is missing, wrong, or the thresholds belong to other graphs.
        """
        fields.expect("format", FORMAT, "this file isn't an edge-asr policy")
        version = fields.value("version")
        if version not in (1, VERSION) or type(version) is not int:
            fields.fail("version", f"is {version!r}, expected 1 or {VERSION}; this edge-asr reads no other version")
        for name in _NEW if version == 1 else ():
            if name in fields:
                fields.fail(name, f"is allowed from version {VERSION} on, and this file says version 1")
        precision = fields.text("precision")
        if precision not in spec.segments:
            fields.fail("precision", f"is {precision!r}, expected one of: {', '.join(spec.segments)}")
        digest = graphs_digest(spec, precision)
        if fields.text("graphs") != digest:
            fields.fail("graphs", f"isn't {digest}: calibrated on other graphs; delete this file and calibrate again")
        whole = cls._part(fields, spec, precision, digest)
        if "decoders" not in fields:
            return whole
        decoders = fields.mapping("decoders")
        parts = {name: cls._part(decoders.mapping(name), spec, precision, digest) for name in decoders}
        return replace(whole, decoders=MappingProxyType(parts))

    @classmethod
    def _part(cls, fields: Fields, spec: BundleSpec, precision: str, digest: str) -> PolicySpec:
        """Validates what is said once for all decoders, or for one of them."""
        exits = spec.encoder.exits
        thresholds = {
            chunk: _numbers(entries, chunk, exits - 1, "thresholds")
            for entries, chunk in _by_chunk(fields, "thresholds", spec)
        }
        calibration = fields.facts("calibration") if "calibration" in fields else {}
        if "decoder" in calibration:
            fields.mapping("calibration").text("decoder")  # complains if it isn't one
        return cls(
            precision=precision,
            graphs=digest,
            criterion=fields.text("criterion"),
            thresholds=MappingProxyType(thresholds),
            calibration=MappingProxyType(calibration),
            exits=exits,
            parameters={c: _object(e, c) for e, c in _by_chunk(fields, "parameters", spec)},
            levels={c: _levels(e, c, exits) for e, c in _by_chunk(fields, "levels", spec)},
            temperatures={c: _temperatures(e, c, exits) for e, c in _by_chunk(fields, "temperatures", spec)},
            hysteresis=_hysteresis(fields),
            reference={c: ReferenceSpec.parse_all(e, c, exits) for e, c in _by_chunk(fields, "reference", spec)},
        )


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """How an exit's criterion was distributed over the calibration's chunks that came to it.

    Attributes:
        edges: Boundaries of the bins, ascending; there is a bin below the first and one above the last.
        shares: The share of chunks in each bin, adding up to 1.
        stop: The share of chunks that left here.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    stop: float

    @classmethod
    def parse_all(cls, entries: Fields, chunk: str, exits: int) -> tuple[ReferenceSpec, ...]:
        """Validates the entries of one chunk size, one for each exit but the last."""
        found = []
        for fields in entries.mappings(chunk):
            edges, shares, stop = fields.numbers("edges"), fields.numbers("shares"), fields.number("stop")
            if list(edges) != sorted(edges):
                fields.fail("edges", "aren't ascending")
            if len(shares) != len(edges) + 1 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-3:
                fields.fail("shares", f"expected {len(edges) + 1} numbers from 0 that add up to 1")
            if not 0 <= stop <= 1:
                fields.fail("stop", f"is {stop}, expected a share from 0 to 1")
            found.append(cls(edges, shares, stop))
        if len(found) != exits - 1:
            entries.fail(chunk, f"has {len(found)} entries, expected {exits - 1}")
        return tuple(found)


def _by_chunk(fields: Fields, name: str, spec: BundleSpec) -> Iterator[tuple[Fields, str]]:
    if name not in fields and name != "thresholds":
        return
    entries = fields.mapping(name)
    for chunk in entries:
        if chunk not in spec.chunk_names:
            entries.fail(chunk, f"isn't a chunk of this bundle: {', '.join(spec.chunk_names)}")
        yield entries, chunk


def _object(entries: Fields, chunk: str) -> Mapping[str, Any]:
    inside = entries.mapping(chunk)
    return MappingProxyType({name: inside.value(name) for name in inside})


def _numbers(entries: Fields, chunk: str, count: int, what: str) -> tuple[float, ...]:
    values = entries.numbers(chunk)
    if len(values) != count:
        entries.fail(chunk, f"has {len(values)} {what}, expected {count}")
    return values


def _levels(entries: Fields, chunk: str, exits: int) -> tuple[tuple[float, ...], ...]:
    count = len(entries.items(chunk))
    level = Fields({f"{i}": value for i, value in enumerate(entries.items(chunk))}, entries.file, entries.name(chunk))
    return tuple(_numbers(level, str(i), exits - 1, "thresholds") for i in range(count))


def _temperatures(entries: Fields, chunk: str, exits: int) -> tuple[float, ...]:
    values = _numbers(entries, chunk, exits, "temperatures")
    if min(values) <= 0:
        entries.fail(chunk, f"holds {min(values)}, expected numbers above 0")
    return values


def _hysteresis(fields: Fields) -> float:
    value = fields.number("hysteresis") if "hysteresis" in fields else 0.0
    if value < 0:
        fields.fail("hysteresis", f"is {value}, expected a number from 0")
    return value


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
