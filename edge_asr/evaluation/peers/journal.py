"""What has been measured so far, on disk: a run that was interrupted goes on from it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_asr.errors import DataError, OptionError
from edge_asr.evaluation.dataset import Utterance, audio_identity
from edge_asr.evaluation.peers.system import System
from edge_asr.evaluation.peers.worker import Answer, Load

FORMAT = "edge-asr-peers-1"


class Journal:
    """A folder with `run.json` (what is compared) and `answers.jsonl` (a line for each answer and each start).

    Each line is written whole or, after a crash, dropped: at most one answer is lost.

    Args:
        folder: made if it is not there.
        utterances: what is recognised.
        threads: for each recogniser.

    Raises:
        OptionError: the folder holds a run on other utterances or other audio, or with other threads.
        DataError: a file in it is not one of this project's, or is damaged.
        AudioNotFoundError, AudioError: an utterance's audio is not there, or cannot be read.

    Example:
        >>> journal = Journal(Path("peers"), utterances, threads=1)  # doctest: +SKIP
        >>> journal.answers("pocketsphinx").keys()  # doctest: +SKIP
    """

    def __init__(self, folder: Path, utterances: Sequence[Utterance], threads: int) -> None:
        self.folder = folder
        self._path = folder / "answers.jsonl"
        self._answers: dict[str, dict[str, Answer]] = {}
        self._loads: dict[str, list[Load]] = {}
        self._digests: dict[str, str] = {}
        marks = "\n".join(f"{u.id}\t{u.text}" for u in utterances)
        run = {
            "format": FORMAT,
            "utterances": len(utterances),
            "texts": hashlib.sha256(marks.encode()).hexdigest()[:16],
            "audio": audio_identity(utterances)[:16],
            "threads": threads,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._check(folder / "run.json", run)
        if self._path.exists():
            self._read()

    def answers(self, name: str) -> dict[str, Answer]:
        """A system's answers by utterance."""
        return dict(self._answers.get(name, {}))

    def loads(self, name: str) -> list[Load]:
        """What its starts have taken."""
        return list(self._loads.get(name, []))

    def register(self, systems: Iterable[System]) -> None:
        """Check that what is on disk of these systems was measured with the same settings.

        Raises:
            OptionError: a system has other settings now, or another model.
        """
        for system in systems:
            known = self._digests.get(system.name)
            if known is None:
                self._append({"system": system.name, "digest": system.digest})
                self._digests[system.name] = system.digest
            elif known != system.digest:
                raise OptionError(
                    f"{str(self.folder)!r} holds answers of {system.name!r} with other settings, packages or "
                    "model: choose another folder"
                )

    def add_answer(self, name: str, utterance: str, answer: Answer) -> None:
        """Note an answer."""
        self._answers.setdefault(name, {})[utterance] = answer
        self._append({"system": name, "utterance": utterance, "answer": asdict(answer)})

    def add_load(self, name: str, load: Load) -> None:
        """Note a start."""
        self._loads.setdefault(name, []).append(load)
        self._append({"system": name, "load": asdict(load)})

    def _append(self, entry: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _check(self, path: Path, run: dict[str, Any]) -> None:
        if not path.exists():
            partial = path.with_name(path.name + ".partial")
            partial.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
            os.replace(partial, path)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{path}: is not one of this project's: format is not {FORMAT!r}")
        for name, value in run.items():
            if found.get(name) != value:
                raise OptionError(
                    f"{str(path.parent)!r} holds a run with {name} {found.get(name)!r}, not {value!r}: "
                    "choose another folder, or the same data, limit, seed and threads"
                )

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the last line was being written when the run was killed
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.decode("utf-8", errors="replace").split("\n")[:-1]  # not splitlines: answers may hold U+2028
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                name = entry["system"]
                if "digest" in entry:
                    self._digests[name] = entry["digest"]
                elif "load" in entry:
                    self._loads.setdefault(name, []).append(Load(**entry["load"]))
                else:
                    self._answers.setdefault(name, {})[entry["utterance"]] = Answer(**entry["answer"])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{self._path}:{number}: malformed ({error}); delete the line to go on") from error
