"""The contest: every recogniser hears every utterance, in alternating order: a slow minute of the machine hits all."""

from __future__ import annotations

import json
import random
import wave
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np

from edge_asr.audio.reader import AudioReader
from edge_asr.audio.resampler import Resampler
from edge_asr.errors import PeerError
from edge_asr.evaluation.dataset import Utterance
from edge_asr.evaluation.peers.journal import Journal
from edge_asr.evaluation.peers.system import System
from edge_asr.evaluation.peers.worker import Worker

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Clip:
    """An utterance as all recognisers get it: a 16 kHz mono 16-bit WAV file."""

    utterance: Utterance
    path: Path
    seconds: float


def convert(utterance: Utterance, folder: Path) -> Clip:
    """Write an utterance's audio as WAV, once; nobody's reading, decoding or resampling is measured then.

    The file is named by the id, percent-encoded, so that no two ids share one.

    Raises:
        AudioNotFoundError, AudioError: the audio is not there, or not audio.
    """
    path = folder / f"{quote(utterance.id, safe='')}.wav"
    if not path.exists():
        with AudioReader(utterance.audio) as reader:
            resampler = Resampler(reader.sample_rate, SAMPLE_RATE)
            blocks = [resampler.push(block) for block in reader.blocks()]
        pcm = np.concatenate([*blocks, resampler.finish()])
        partial = path.with_name(path.name + ".partial")
        with wave.open(str(partial), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            file.writeframes((np.clip(pcm, -1.0, 32767 / 32768) * 32768).round().astype("<i2").tobytes())
        partial.replace(path)
    with wave.open(str(path), "rb") as file:
        return Clip(utterance, path, file.getnframes() / SAMPLE_RATE)


@dataclass(slots=True)
class Contest:
    """What is run.

    Args:
        systems: the recognisers.
        clips: what they hear.
        journal: where answers go; those that are there are not asked for again.
        command: the process of a system, without its kind and options: its Python and the worker.
        threads: for each recogniser.
        loads: how often each is started for the load time.
        report: told of failures, as they happen.

    Attributes:
        failures: what went wrong, by the system's name. A system that fails is left alone from then on.
    """

    systems: Sequence[System]
    clips: Sequence[Clip]
    journal: Journal
    command: Callable[[System], Sequence[str]]
    threads: int = 1
    loads: int = 3
    report: Callable[[str], None] = print
    failures: dict[str, str] = field(default_factory=dict)

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Start the recognisers that still have something to do and ask them, each utterance in an order of its own.

        Each hears the first clip once before anything is measured. Answers are noted as they come: after Ctrl-C or a
        crash, the same call on the same journal goes on.

        Args:
            tick: called after each answer, also for those of an earlier run.

        Raises:
            OptionError: the journal holds answers of a system with other settings.
        """
        self.journal.register(self.systems)
        missing = {s.name: self._missing(s) for s in self.systems}
        for _ in range(sum(len(self.clips) - len(ids) for ids in missing.values())):
            tick()
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for system in self.systems:
                if missing[system.name] or not self.journal.loads(system.name):
                    worker = self._start(system)
                    if worker is not None:
                        workers[system.name] = stack.enter_context(worker)
            for index, clip in enumerate(self.clips):
                names = [name for name in workers if clip.utterance.id in missing[name]]
                random.Random(index).shuffle(names)
                for name in names:
                    if name not in self.failures:
                        self._ask(name, workers[name], clip, tick)

    def _missing(self, system: System) -> set[str]:
        return {clip.utterance.id for clip in self.clips} - set(self.journal.answers(system.name))

    def _fail(self, name: str, error: PeerError) -> None:
        self.failures[name] = str(error)
        self.report(f"{name} failed and is left out: {error}")

    def _start(self, system: System) -> Worker | None:
        """Start a system as often as its load time is measured; the last process stays."""
        worker = None
        try:
            command = [*self.command(system), system.kind, json.dumps(worker_options(system, self.threads))]
            log = self.journal.folder / "logs" / f"{system.name}.log"
            log.parent.mkdir(exist_ok=True)
            for number in range(max(1, self.loads)):
                if worker is not None:
                    worker.close()
                worker = Worker(system.name, command, log)
                if number or self.loads <= 1:  # the first start reads the disk
                    self.journal.add_load(system.name, worker.load)
            assert worker is not None
            worker.ask(self.clips[0].path)
        except PeerError as error:
            if worker is not None:
                worker.close()
            self._fail(system.name, error)
            return None
        except BaseException:
            if worker is not None:
                worker.close()
            raise
        return worker

    def _ask(self, name: str, worker: Worker, clip: Clip, tick: Callable[[], None]) -> None:
        try:
            answer = worker.ask(clip.path, timeout=120 + 20 * clip.seconds)
        except PeerError as error:
            self._fail(name, error)
            return
        self.journal.add_answer(name, clip.utterance.id, answer)
        tick()


def worker_options(system: System, threads: int) -> Mapping[str, object]:
    """What a system's worker is told. What identifies a model and its policy is for the journal alone."""
    hidden = {"graphs", "thresholds", "besides"}
    return {"threads": threads} | {k: v for k, v in system.options.items() if k not in hidden} | system.places
