"""The comparison's result: a row for each recogniser, as JSON and as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_asr.evaluation.bootstrap import rate_interval
from edge_asr.evaluation.normaliser import comparable
from edge_asr.evaluation.peers.contest import Clip
from edge_asr.evaluation.peers.journal import Journal
from edge_asr.evaluation.peers.system import System
from edge_asr.evaluation.wer import ErrorCount, word_errors

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One recogniser's figures.

    Args:
        name: the system's.
        is_ours: whether it is this project's.
        about: model, engine, settings.
        version: of its package.
        wer: word error rate, as a fraction.
        wer_low, wer_high: its 95 % interval over speakers, or over utterances if there is one speaker.
        rtf: CPU seconds per second of audio, user and system, all threads.
        ratio: `rtf` over that of the reference system; None if that is missing.
        wall_rtf: seconds per second of audio.
        peak_rss: bytes.
        load_wall, load_cpu: seconds from starting the process to being ready, median of its warm starts.
        model_bytes: size of its model's files.
    """

    name: str
    is_ours: bool
    about: str
    version: str
    wer: float
    wer_low: float
    wer_high: float
    rtf: float
    ratio: float | None
    wall_rtf: float
    peak_rss: int
    load_wall: float
    load_cpu: float
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All rows, and what they were measured on.

    Args:
        rows: ours first, then by CPU seconds.
        reference: the system whose cost is 1.
        failures: reason by system: those that could not be measured on every utterance.
        utterances: how many.
        words: in the references.
        speakers: how many.
        seconds: of audio.
        notes: machine, threads, commit and the like.
    """

    rows: tuple[Row, ...]
    reference: str
    failures: dict[str, str]
    utterances: int
    words: int
    speakers: int
    seconds: float
    notes: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values; rates are fractions, sizes bytes, times seconds."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def compare(
    systems: Sequence[System],
    clips: Sequence[Clip],
    journal: Journal,
    failures: Mapping[str, str],
    reference: str,
    notes: Mapping[str, Any],
) -> Comparison:
    """Work out every system's figures from its answers.

    A system counts only with an answer to every utterance: error rates over different utterances are not comparable.

    Args:
        systems: what was run.
        clips: on what.
        journal: the answers.
        failures: reason by system.
        reference: name of the system whose cost is 1.
        notes: kept with the result.
    """
    seconds = sum(clip.seconds for clip in clips)
    failed = dict(failures)
    costs: dict[str, float] = {}
    for system in systems:
        answers = journal.answers(system.name)
        present = [answers[c.utterance.id] for c in clips if c.utterance.id in answers]
        if len(present) == len(clips) and journal.loads(system.name):
            costs[system.name] = sum(answer.cpu for answer in present) / seconds
            failed.pop(system.name, None)
        else:
            failed.setdefault(system.name, f"{len(present)} of {len(clips)} utterances")
    rows = [_row(system, clips, journal, costs, costs.get(reference)) for system in systems if system.name in costs]
    rows.sort(key=lambda row: (not row.is_ours, row.rtf if not row.is_ours else 0))
    words = sum(word_errors(comparable(c.utterance.text), "").reference for c in clips)
    speakers = len({_speaker(clip) for clip in clips})
    return Comparison(tuple(rows), reference, failed, len(clips), words, speakers, seconds, dict(notes))


def _speaker(clip: Clip) -> str:
    return clip.utterance.speaker or clip.utterance.id


def _row(
    system: System, clips: Sequence[Clip], journal: Journal, costs: Mapping[str, float], reference: float | None
) -> Row:
    answers, loads = journal.answers(system.name), journal.loads(system.name)
    errors = [word_errors(comparable(c.utterance.text), comparable(answers[c.utterance.id].text)) for c in clips]
    low, high = rate_interval((_speaker(clip), error) for clip, error in zip(clips, errors, strict=True))
    cost = costs[system.name]
    measured = [answers[clip.utterance.id] for clip in clips]
    return Row(
        name=system.name,
        is_ours=system.is_ours,
        about=system.about,
        version=loads[-1].version,
        wer=sum(errors, ErrorCount()).rate,
        wer_low=low,
        wer_high=high,
        rtf=cost,
        ratio=cost / reference if reference else None,
        wall_rtf=sum(answer.wall for answer in measured) / sum(clip.seconds for clip in clips),
        peak_rss=max(answer.peak_rss for answer in measured),
        load_wall=statistics.median(load.wall for load in loads),
        load_cpu=statistics.median(load.cpu for load in loads),
        model_bytes=loads[-1].model_bytes,
    )


def as_markdown(comparison: Comparison) -> str:
    """The result for people: a table, what was run, what failed, and how it was measured."""
    c = comparison
    lines = [
        "# Comparison with other recognisers",
        "",
        f"{c.utterances} utterances, {c.words} words, {c.speakers} speakers, {c.seconds / 60:.1f} minutes. "
        + "; ".join(f"{name} {value}" for name, value in c.notes.items())
        + ".",
        "",
        f"| system | WER % | 95 % interval | CPU s per s of audio | × {c.reference} | peak memory, MiB | "
        "load, s (CPU) | model, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in c.rows:
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        interval = f"{100 * row.wer_low:.1f}–{100 * row.wer_high:.1f}"
        lines.append(
            f"| {row.name} | {100 * row.wer:.1f} | {interval} | {row.rtf:.4f} | {ratio} | {row.peak_rss / MIB:.0f} | "
            f"{row.load_wall:.2f} ({row.load_cpu:.2f}) | {row.model_bytes / 1e6:.1f} |"
        )
    lines += ["", *(f"- **{row.name}**: {row.about} ({row.version})" for row in c.rows)]
    if c.failures:
        lines += ["", "Not measured:", "", *(f"- **{name}**: {reason}" for name, reason in c.failures.items())]
    lines += ["", f"{METHOD}\n{INTERVALS if c.speakers > 1 else ONE_SPEAKER}", ""]
    return "\n".join(lines)


METHOD = """Each system runs in a process and an environment of its own, on the same processors. Each utterance is heard
by all before the next one, in an order that changes; one utterance is heard before the clock starts. Audio is given as
16 kHz PCM: reading and resampling are not measured. CPU seconds are user and system time of all threads during the
recogniser's own call. Peak memory is the whole process's, interpreter and libraries included. Load is from the start of
the process, imports included, with files in the disk cache. Both sides of the word error rate go through one
normaliser (`edge_asr/evaluation/normaliser.py`): numbers and titles spelled out, A to Z and apostrophes inside
words."""
INTERVALS = "Intervals resample speakers."
ONE_SPEAKER = "There is one speaker: intervals resample utterances, and say nothing of other speakers."
