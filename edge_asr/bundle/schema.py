"""``bundle.json``: its contents as frozen dataclasses, and their validation (version 1 of the format)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_asr.bundle.fields import Fields, is_bundle_path

FORMAT = "edge-asr-bundle"
VERSION = 1
FULL = "full"
UNLISTED = ("bundle.json", "policy.json", "README.md")
"""The files that ``files`` doesn't list."""
MOST_FRAMES, WIDEST, LONGEST_HOP = 20_000, 10_000, 10_000
"""Limits of what buffers are made of: frames (13 minutes of 40 ms), ``dim``, and samples from a frame to the next."""
LARGEST_STATE, MOST_AXES = 10_000_000, 8
"""Numbers in one of the trunk's states, and its axes."""


@dataclass(frozen=True, slots=True)
class FrontendSpec:
    """The graph from PCM to frames: frame i covers ``hop + overlap`` samples from ``i * hop``."""

    file: str
    hop: int
    overlap: int


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Sizes of the encoder, in frames if nothing else is said; ``trunk_state`` shapes lack the batch axis.

    ``overlap`` is how many frames on either side of a chunk the deeper segments compute along with it, on the right at
    most ``look_ahead``; bundles that don't say so have none.
    """

    architecture: str
    dim: int
    exits: int
    history: int
    look_ahead: int
    step_frames: int
    tail_frames: int
    trunk_state: Mapping[str, tuple[int, ...]]
    overlap: int = 0

    @property
    def overlap_right(self) -> int:
        """How much of the look-ahead is computed along with the chunk; of the rest only the memory is seen."""
        return min(self.overlap, self.look_ahead - self.look_ahead % 2)


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """Chunk sizes in frames; ``full_max_frames`` bounds a piece in ``full`` mode, its tail included."""

    default: int
    allowed: tuple[int, ...]
    full_max_frames: int


@dataclass(frozen=True, slots=True)
class TokensSpec:
    """A token table: a file with one piece (or phone) a line, and the id of the blank."""

    file: str
    size: int
    blank: int


@dataclass(frozen=True, slots=True)
class ExitSpec:
    """All that has run when an exit has spoken: parameters, and MACs per second of audio by chunk name."""

    exit: int
    params: int
    macs_per_second: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file's size in bytes and its SHA-256 (lower-case hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BundleSpec:
    """All of ``bundle.json``, validated. Source: ``docs/architecture.md``, "The bundle"."""

    name: str
    language: str
    producer: str
    created: str
    sample_rate: int
    frontend: FrontendSpec
    encoder: EncoderSpec
    chunks: ChunkSpec
    tokens: TokensSpec
    segments: Mapping[str, tuple[str, ...]]
    default_precision: str
    exits: tuple[ExitSpec, ...]
    files: Mapping[str, FileSpec]
    metrics: Mapping[str, Any]
    lm: str | None = None
    """The language model's file; None if there is none."""
    phones: TokensSpec | None = None
    """The table of phones, if exits give those too."""

    @classmethod
    def parse(cls, fields: Fields) -> BundleSpec:
        """Validates the fields of a ``bundle.json``.

        Raises:
            BundleError: If a field is missing, has a wrong type or value, or contradicts another.
        """
        fields.expect("format", FORMAT, "this file isn't an edge-asr bundle's")
        fields.expect("version", VERSION, "this edge-asr reads no other version")
        encoder = _encoder(fields.mapping("encoder"))
        frontend = fields.mapping("frontend")
        tokens = _tokens(fields.mapping("tokens"))
        spec = cls(
            name=fields.text("name"),
            language=fields.text("language"),
            producer=fields.text("producer"),
            created=fields.text("created"),
            sample_rate=fields.integer("sample_rate", minimum=1),
            frontend=FrontendSpec(
                file=frontend.path("file"),
                hop=frontend.integer("hop", minimum=1, maximum=LONGEST_HOP),
                overlap=frontend.integer("overlap", maximum=10 * LONGEST_HOP),
            ),
            encoder=encoder,
            chunks=_chunks(fields.mapping("chunks"), encoder),
            tokens=tokens,
            segments=_segments(fields.mapping("segments"), encoder),
            default_precision=fields.text("default_precision"),
            exits=_exits(fields, encoder),
            files=_files(fields.mapping("files")),
            metrics=MappingProxyType(dict(fields.facts("metrics")) if "metrics" in fields else {}),
            lm=fields.mapping("lm").path("file") if "lm" in fields else None,
            phones=_tokens(fields.mapping("phones")) if "phones" in fields else None,
        )
        if spec.default_precision not in spec.segments:
            have = ", ".join(spec.segments)
            fields.fail("default_precision", f"is {spec.default_precision!r}, expected one of segments: {have}")
        for where, file in spec.references():
            if file not in spec.files:
                fields.fail("files", f"lacks {file!r}, which {where} names")
        return spec

    def references(self) -> list[tuple[str, str]]:
        """Gives (field, file) for each file that another field names."""
        result = [("frontend.file", self.frontend.file), ("tokens.file", self.tokens.file)]
        if self.lm is not None:
            result.append(("lm.file", self.lm))
        if self.phones is not None:
            result.append(("phones.file", self.phones.file))
        for precision, files in self.segments.items():
            result += [(f"segments.{precision}[{i}]", file) for i, file in enumerate(files)]
        return result

    def chunk_ms(self, frames: int) -> int:
        """Gives the length of ``frames`` frames in ms, as chunk names and ``policy.json`` have it."""
        return frames * self.frontend.hop * 1000 // self.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds between two frames."""
        return self.frontend.hop / self.sample_rate

    @property
    def chunk_names(self) -> tuple[str, ...]:
        """Names of the chunk sizes, like ``("320", "640", "1280", "full")``."""
        return (*(str(self.chunk_ms(frames)) for frames in self.chunks.allowed), FULL)


def _encoder(fields: Fields) -> EncoderSpec:
    step = fields.integer("step_frames", minimum=2, maximum=MOST_FRAMES)
    if step % 2:
        fields.fail("step_frames", f"is {step}, expected an even number")
    overlap = fields.integer("overlap", maximum=MOST_FRAMES) if "overlap" in fields else 0
    if overlap % 2:
        fields.fail("overlap", f"is {overlap}, expected an even number")
    return EncoderSpec(
        architecture=fields.text("architecture"),
        dim=fields.integer("dim", minimum=1, maximum=WIDEST),
        exits=fields.integer("exits", minimum=1),
        history=fields.integer("history", maximum=MOST_FRAMES),
        look_ahead=fields.integer("look_ahead", maximum=MOST_FRAMES),
        step_frames=step,
        tail_frames=fields.integer("tail_frames", maximum=MOST_FRAMES),
        trunk_state=_states(fields.mapping("trunk_state")),
        overlap=overlap,
    )


def _states(fields: Fields) -> Mapping[str, tuple[int, ...]]:
    shapes = {key: fields.integers(key, minimum=1) for key in fields}
    for key, shape in shapes.items():
        if len(shape) > MOST_AXES or math.prod(shape) > LARGEST_STATE:
            fields.fail(key, f"is {list(shape)}, expected at most {MOST_AXES} axes and {LARGEST_STATE} numbers")
    return MappingProxyType(shapes)


def _chunks(fields: Fields, encoder: EncoderSpec) -> ChunkSpec:
    allowed = fields.integers("allowed", minimum=2, maximum=MOST_FRAMES)
    if not allowed or any(frames % 2 for frames in allowed) or list(allowed) != sorted(set(allowed)):
        fields.fail("allowed", f"is {list(allowed)}, expected even numbers of frames, rising")
    default = fields.integer("default", minimum=2)
    if default not in allowed:
        fields.fail("default", f"is {default}, expected one of allowed: {list(allowed)}")
    return ChunkSpec(
        default=default,
        allowed=allowed,
        full_max_frames=fields.integer("full_max_frames", minimum=encoder.tail_frames + 10, maximum=MOST_FRAMES),
    )


def _tokens(fields: Fields) -> TokensSpec:
    size = fields.integer("size", minimum=2)
    blank = fields.integer("blank")
    if blank >= size:
        fields.fail("blank", f"is {blank}, expected less than size, {size}")
    return TokensSpec(file=fields.path("file"), size=size, blank=blank)


def _segments(fields: Fields, encoder: EncoderSpec) -> Mapping[str, tuple[str, ...]]:
    segments = {precision: fields.paths(precision) for precision in fields}
    for precision, files in segments.items():
        if len(files) != encoder.exits:
            fields.fail(precision, f"has {len(files)} files, expected encoder.exits, {encoder.exits}")
    return MappingProxyType(segments)


def _exits(fields: Fields, encoder: EncoderSpec) -> tuple[ExitSpec, ...]:
    result = []
    for number, entry in enumerate(fields.mappings("exits"), start=1):
        if entry.integer("exit", minimum=1) != number:
            entry.fail("exit", f"is {entry.value('exit')}, expected {number}: exits are listed in order from 1")
        macs = entry.mapping("macs_per_second")
        result.append(
            ExitSpec(
                exit=number,
                params=entry.integer("params"),
                macs_per_second=MappingProxyType({key: macs.number(key) for key in macs}),
            )
        )
    if len(result) != encoder.exits:
        fields.fail("exits", f"has {len(result)} entries, expected encoder.exits, {encoder.exits}")
    return tuple(result)


def _files(fields: Fields) -> Mapping[str, FileSpec]:
    result = {}
    for file in fields:
        if not is_bundle_path(file) or file in UNLISTED:
            fields.fail(file, "isn't the relative path of a file that may be listed")
        entry = fields.mapping(file)
        digest = entry.text("sha256")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            entry.fail("sha256", f"is {digest!r}, expected 64 hexadecimal digits in lower case")
        result[file] = FileSpec(bytes=entry.integer("bytes"), sha256=digest)
    return MappingProxyType(result)
