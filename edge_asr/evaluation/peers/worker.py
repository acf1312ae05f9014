"""A recogniser in a process of its own, asked over pipes; see `scripts/peer_worker.py` for what is said."""

from __future__ import annotations

import json
import math
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edge_asr.errors import PeerError

LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What starting took.

    Args:
        version: of the recogniser.
        model_bytes: size of its model's files.
        wall: seconds from starting the process to being ready: interpreter, imports and model.
        cpu: CPU seconds of that, user and system.
    """

    version: str
    model_bytes: int
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What was heard in one file, and what it took.

    Args:
        text: as the recogniser writes it.
        cpu: CPU seconds, user and system, all threads.
        wall: seconds.
        peak_rss: bytes of memory that the process has held at most so far.
    """

    text: str
    cpu: float
    wall: float
    peak_rss: int


class Worker:
    """A running recogniser. Use it in a `with` block: the process ends with it.

    Args:
        name: for messages.
        command: the process.
        log: file that its stderr is written to.
        start_timeout: seconds until it must be ready.

    Attributes:
        load: what starting took.

    Raises:
        PeerError: it cannot be started, ends, takes too long, or answers something else than it should.

    Example:
        >>> with Worker("sphinx", [python, "scripts/peer_worker.py", …], Path("log")) as worker:  # doctest: +SKIP
        ...     worker.ask(Path("a.wav")).text
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, *, start_timeout: float = 300.0) -> None:
        self.name = name
        self._log = log
        started = time.perf_counter()
        try:
            with log.open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is for the caller, which closes its workers
                )
        except OSError as error:
            raise PeerError(f"{name}: {command[0]!r} cannot be started: {error.strerror}") from error
        self._lines: queue.Queue[bytes] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_listen, args=(self._process.stdout, self._lines), daemon=True).start()
        try:
            reply = self._reply(start_timeout)
            if reply.get("ready") is not True:
                raise PeerError(f"{name}: field 'ready' is {reply.get('ready')!r}; expected true")
            self.load = Load(
                self._text(reply, "version"),
                int(self._number(reply, "model_bytes")),
                time.perf_counter() - started,
                self._number(reply, "load_cpu"),
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, audio: Path, *, timeout: float = 600.0) -> Answer:
        """Recognise a 16 kHz mono 16-bit WAV file.

        Raises:
            PeerError: the process has ended, takes longer than `timeout` seconds, or its answer is malformed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"audio": str(audio)}).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # ValueError: the pipe is closed
            raise PeerError(f"{self.name}: the process has ended{self._last_words()}") from error
        reply = self._reply(timeout)
        numbers = (self._number(reply, "cpu"), self._number(reply, "wall"), int(self._number(reply, "peak_rss")))
        return Answer(self._text(reply, "text"), *numbers)

    def close(self) -> None:
        """End the process; it may be called twice."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _reply(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise PeerError(f"{self.name}: no answer within {timeout:g} s") from None
        if not line:
            raise PeerError(f"{self.name}: the process has ended{self._last_words()}")
        try:
            reply = json.loads(line)
        except ValueError:
            raise PeerError(f"{self.name}: answered {_short(line)}; expected a line of JSON") from None
        if not isinstance(reply, dict):
            raise PeerError(f"{self.name}: answered {_short(line)}; expected a JSON object")
        if "error" in reply:
            raise PeerError(f"{self.name}: {' '.join(str(reply['error']).split())[:300]}")
        return reply

    def _text(self, reply: dict[str, Any], field: str) -> str:
        value = reply.get(field)
        if not isinstance(value, str):
            raise PeerError(f"{self.name}: field {field!r} is {value!r}; expected a string")
        return value

    def _number(self, reply: dict[str, Any], field: str) -> float:
        value = reply.get(field)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
            raise PeerError(f"{self.name}: field {field!r} is {value!r}; expected a number from 0")
        return float(value)

    def _last_words(self) -> str:
        """The last line of its stderr."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:300]}" if last else ""


def _listen(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """Pass lines on, and an empty one at the end; a line without an end is passed on in pieces, and refused there."""
    while line := stream.readline(LONGEST_LINE):
        lines.put(line)
    lines.put(b"")


def _short(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 80 else text[:77] + "…")
