"""What a `policy.json` that is written anew keeps of the one before: what wasn't calibrated this time."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge_asr.bundle.fields import Fields
from edge_asr.bundle.policy import PolicySpec
from edge_asr.bundle.schema import BundleSpec
from edge_asr.decoding.decoder import GREEDY, LM
from edge_asr.errors import BundleError
from edge_asr.exits.calibrated import calibrated_policy

BY_CHUNK = ("thresholds", "levels", "parameters", "temperatures", "reference")
WHOLE = ("format", "version", "precision", "graphs", "decoders")
"""What is said once for all decoders."""


def with_earlier(document: Mapping[str, Any], path: Path, spec: BundleSpec) -> tuple[dict[str, Any], list[str]]:
    """Add the chunk sizes and decoders that a file has and a new policy lacks, where they still hold.

    They hold if graphs, precision and criterion are the same and, within a decoder's part, hysteresis and what the
    decoder reads. Their notes go along, under `earlier` in the part's `calibration`. The decoder that comes first, by
    which those go that aren't there, stays the first one if it has chunk sizes that were not calibrated now.

    Args:
        document: the contents of a `policy.json`, see `policy_document`.
        path: the file that it will replace; it need not be there.
        spec: the description of the bundle.

    Returns:
        The contents to write, and a line for each decoder on what is kept, and on what isn't and why.

    Example:
        >>> with_earlier(document, Path("bundle/policy.json"), bundle.spec)[1]  # doctest: +SKIP
        ['kept as it was: greedy, chunk 320, full']
    """
    try:
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return dict(document), []
    new = _parts(copy.deepcopy(dict(document)))
    old = _parts(raw)
    missing = {name: [c for c in _chunks(part) if c not in _chunks(new.get(name, {}))] for name, part in old.items()}
    if not any(missing.values()):
        return dict(document), []
    first, known, foreign = next(iter(new)), None, ""
    if any(raw.get(name) != document[name] for name in ("precision", "graphs")):
        foreign = "it was of other graphs"
    else:
        try:
            known = PolicySpec.parse(Fields.read(path, path.name), spec)
        except BundleError as error:
            foreign = str(error)
    said = []
    for name, chunks in missing.items():
        if not chunks:
            continue
        part, mine = old[name], new.get(name)
        reason = foreign or _difference(name, part, mine or new[first], spec, own=mine is None)
        if not reason and known is not None:
            reason = _unusable(known.decoders.get(name, known), chunks)
        where = f"{name}, chunk {', '.join(chunks)}"
        said.append(f"not kept: {where} ({reason})" if reason else f"kept as it was: {where}")
        if not reason and mine is None:
            notes = {**part.get("calibration", {}), "decoder": name, "phones": _phones(name, part, spec)}
            new[name] = {**part, "calibration": notes}
        elif not reason and mine is not None:
            _add(mine, part, spec)
    top = next(iter(old))
    if top not in new or set(_chunks(old[top])) <= set(_chunks(document)):
        top = first
    whole = {name: document[name] for name in WHOLE if name != "decoders"} | new.pop(top)
    return whole | ({"decoders": new} if new else {}), said


def _parts(document: Any) -> dict[str, dict[str, Any]]:
    """What a policy says of each decoder, the first one first; parts that aren't objects are left out."""
    if not isinstance(document, dict):
        return {}
    notes, decoders = document.get("calibration"), document.get("decoders")
    name = notes.get("decoder") if isinstance(notes, dict) else None
    top = {key: value for key, value in document.items() if key not in WHOLE}
    found = {name if isinstance(name, str) else GREEDY: top, **(decoders if isinstance(decoders, dict) else {})}
    return {name: part for name, part in found.items() if isinstance(part, dict)}


def _chunks(part: Mapping[str, Any]) -> list[str]:
    return list(_object(part, "thresholds"))


def _phones(name: str, part: Mapping[str, Any], spec: BundleSpec) -> bool:
    """Whether a part's decoder read phones; files that don't say so had `lm` read them where there are some."""
    return bool(part.get("calibration", {}).get("phones", name == LM and spec.phones is not None))


def _difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any], spec: BundleSpec, *, own: bool) -> str:
    """Why an old part doesn't hold beside a new one, or in it if it isn't on its own; empty if it does."""
    if old.get("criterion") != new["criterion"]:
        return f"its criterion was {old.get('criterion')}"
    if own:
        return ""
    if old.get("hysteresis", 0.0) != new.get("hysteresis", 0.0):
        return f"its hysteresis was {old.get('hysteresis', 0.0)}"
    if _phones(name, old, spec) != _phones(name, new, spec):
        return "it read word pieces" if _phones(name, new, spec) else "it read phones"
    return ""


def _unusable(part: PolicySpec, chunks: Iterable[str]) -> str:
    """Why the runtime would refuse one of these chunk sizes; empty if it would not."""
    try:
        for chunk in chunks:
            calibrated_policy(part, chunk)
    except BundleError as error:
        return str(error)
    return ""


def _add(mine: dict[str, Any], part: Mapping[str, Any], spec: BundleSpec) -> None:
    """Adds what an old part has of chunk sizes that a new one lacks."""
    notes = part.get("calibration", {})
    here = {name: value for name, value in notes.items() if name not in ("decoder", "phones", "points", "earlier")}
    added = [chunk for chunk in _chunks(part) if chunk not in _chunks(mine)]
    for name in BY_CHUNK:
        both = {chunk: part[name][chunk] for chunk in added if chunk in part.get(name, {})} | mine.get(name, {})
        if both:
            mine[name] = {chunk: both[chunk] for chunk in spec.chunk_names if chunk in both}
    points, earlier = _object(notes, "points"), _object(notes, "earlier")
    kept = mine["calibration"]
    kept["points"] |= {chunk: points[chunk] for chunk in added if chunk in points}
    kept["earlier"] = {chunk: earlier.get(chunk, here) for chunk in added}


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, dict) else {}
