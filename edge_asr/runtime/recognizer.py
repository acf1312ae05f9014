"""The recogniser: a loaded model, ready for files, arrays and streams."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asr.audio.reader import AudioReader
from edge_asr.bundle.bundle import Bundle
from edge_asr.bundle.models import resolve
from edge_asr.bundle.schema import FULL
from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.decoder import GREEDY, LM, Decoder
from edge_asr.decoding.decoding import Decoding
from edge_asr.decoding.endpoint import EndpointConfig
from edge_asr.decoding.hotwords import Hotword
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.text import Formatter
from edge_asr.decoding.tokens import TokenTable
from edge_asr.errors import OptionError
from edge_asr.exits.calibrated import calibrated_criterion, calibrated_policy
from edge_asr.exits.capped import CappedPolicy
from edge_asr.exits.fixed import FixedPolicy
from edge_asr.exits.policy import Policy
from edge_asr.exits.threshold import ThresholdPolicy
from edge_asr.runtime.budget import Budget
from edge_asr.runtime.controller import BudgetController
from edge_asr.runtime.device_readers import DeviceReader, default_readers
from edge_asr.runtime.engine import Engine
from edge_asr.runtime.monitor import Monitor
from edge_asr.runtime.onnx_engine import OnnxEngine
from edge_asr.runtime.segment_costs import SegmentCosts
from edge_asr.runtime.stream import Stream
from edge_asr.runtime.transcript import Transcript

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Recognizer:
    """A model that recognises speech. May be shared by threads; a `Stream` may not.

    Attributes:
        bundle: The model's bundle.
        engine: Runs its graphs.
        tokens: Its token table.
        precision: The precision of the graphs.
        budget: Kept by every stream that isn't given its own.
        monitor: Counts what all streams do.
        costs: What segments cost on this device, by chunk size, as measured so far.
        readers: Tell the device's state to budgets; None for `default_readers`.
        phones: The table of phones, if the bundle's exits give those too.

    Example:
        >>> recognizer = Recognizer.load("en-tiny")  # doctest: +SKIP
        >>> recognizer.transcribe("talk.wav").text  # doctest: +SKIP
        'the words of the talk'
    """

    bundle: Bundle
    engine: Engine
    tokens: TokenTable
    precision: str
    budget: Budget | None = None
    monitor: Monitor | None = None
    costs: dict[str, SegmentCosts] = field(default_factory=dict, repr=False, compare=False)
    phones: TokenTable | None = None
    readers: Sequence[DeviceReader] | None = None
    _decoders: dict[str, Decoder] = field(default_factory=dict, compare=False, repr=False)
    _readers: list[DeviceReader] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def load(
        cls,
        model: str | Path = "en-tiny",
        *,
        precision: str | None = None,
        threads: int = 1,
        budget: Budget | None = None,
        use_policy: bool = True,
        readers: Sequence[DeviceReader] | None = None,
    ) -> Recognizer:
        """Loads a model.

        Args:
            model: A known name, or a bundle's directory.
            precision: Like ``"int8"`` or ``"float32"``; None takes the bundle's default.
            threads: Threads inside one operation.
            budget: What the device can afford; None for no limit.
            use_policy: Read the bundle's ``policy.json``; without it there are fixed exits alone.
            readers: Tell the device's state (load, temperature, battery) to budgets; None for what this platform has.

        Raises:
            UnknownModelError: If ``model`` is neither; the message names the known models.
            BundleError: If the bundle is incomplete, damaged, foreign or of another version.
            OptionError: If the bundle lacks the precision, or ``threads`` is less than 1.
        """
        bundle = Bundle.load(resolve(model), use_policy=use_policy)
        precision = bundle.precision(precision)
        if bundle.policy is not None:
            for part in (bundle.policy, *bundle.policy.decoders.values()):
                for chunk in part.thresholds:
                    calibrated_criterion(part, chunk, file=str(bundle.path / "policy.json"))
        table = bundle.spec.tokens
        tokens = TokenTable.load(bundle.tokens_file, table.size, table.blank)
        monitor = Monitor(bundle.spec.encoder.exits, bundle.policy)
        spec, file = bundle.spec.phones, bundle.phones_file
        phones = None if spec is None or file is None else TokenTable.load(file, spec.size, spec.blank)
        engine = OnnxEngine(bundle, precision, threads)
        return cls(bundle, engine, tokens, precision, budget, monitor, phones=phones, readers=readers)

    def transcribe(
        self,
        audio: str | Path | npt.NDArray[Any],
        *,
        sample_rate: int = 16_000,
        chunk: int | str = 640,
        exit: int | str = AUTO,
        formatter: Formatter | None = None,
        budget: Budget | None = None,
        decoder: Decoder | str = AUTO,
        hotwords: Sequence[Hotword | str] = (),
        nbest: int = 1,
        second_pass: bool = False,
    ) -> Transcript:
        """Recognises a recording.

        Args:
            audio: A file that libsndfile can read, or PCM (N,) or (N, channels), int16 or float in [-1, 1].
            sample_rate: Rate of an array in Hz; a file knows its own.
            chunk: Chunk size in ms, or ``"full"``.
            exit: ``"auto"`` stops where the bundle's thresholds for the decoder say, a number fixes the depth.
            formatter: Makes the text fit for people; None for lower case.
            budget: What the device can afford; None takes the recogniser's.
            decoder: A name, see `decoder`, or what it gave.
            hotwords: Phrases to prefer.
            nbest: Most alternatives in the transcript.
            second_pass: See `stream`.

        Returns:
            The transcript; its ``seconds`` include reading the file.

        Raises:
            AudioNotFoundError: If there is no such file.
            AudioError: If the audio is empty, isn't audio, or holds NaN or infinity.
            OptionError: If an option has a value that the bundle doesn't allow.
        """
        started = time.perf_counter()
        options: dict[str, Any] = {
            "chunk": chunk,
            "exit": exit,
            "formatter": formatter,
            "decoder": decoder,
            "hotwords": hotwords,
            "nbest": nbest,
            "budget": budget,
            "second_pass": second_pass,
        }
        if isinstance(audio, (str, Path)):
            with AudioReader(audio) as reader:
                stream = self.stream(sample_rate=reader.sample_rate, **options)
                for block in reader.blocks():
                    stream.feed(block)
        else:
            stream = self.stream(sample_rate=sample_rate, **options)
            stream.feed(np.asarray(audio))
        transcript = stream.finish()
        seconds = time.perf_counter() - started
        return replace(transcript, seconds=seconds, rtf=seconds / transcript.duration)

    def stream(
        self,
        *,
        sample_rate: int = 16_000,
        chunk: int | str = 640,
        exit: int | str = AUTO,
        formatter: Formatter | None = None,
        policy: Policy | None = None,
        keep_log_probs: bool = False,
        budget: Budget | None = None,
        decoder: Decoder | str = AUTO,
        hotwords: Sequence[Hotword | str] = (),
        nbest: int = 1,
        endpoint: EndpointConfig | None = None,
        second_pass: bool = False,
    ) -> Stream:
        """Starts a live recognition.

        Args:
            sample_rate: Rate of the audio in Hz.
            chunk: Chunk size in ms, or ``"full"`` (then text comes at the end of a piece only).
            exit: ``"auto"`` or a depth; see `transcribe`.
            formatter: Makes the text fit for people; None for lower case.
            policy: Decides instead of ``exit``.
            keep_log_probs: Keep the splice for `Stream.log_probs`.
            budget: What the device can afford; None takes the recogniser's.
            decoder: A name, see `decoder`, or what it gave.
            hotwords: Phrases to prefer.
            nbest: Most alternatives in the transcript.
            endpoint: When `Stream.endpoint` says that the utterance is over.
            second_pass: At the end of each piece (at a pause after 20 s, and at the end of all) the deeper segments
                run once more, over the whole piece, as deep as ``exit`` says for ``full``. Partial texts stay as they
                are, the final text gets better, and that work is done twice. Pieces beyond 30 s keep their text. A
                decoder's own thresholds for ``full`` don't count here.

        Raises:
            AudioError: If the sample rate is out of range.
            OptionError: If an option has a value that the bundle doesn't allow.
        """
        chunk_frames = self.chunk_frames(chunk)
        prepared = self._prepared(decoder)
        # What comes last is to be the best: by the thresholds that hold for any decoder, which are the stricter ones.
        whole = (self.policy(exit, FULL) if policy is None else policy) if second_pass else None
        decoding = prepared.start(_phrases(hotwords))
        calibrated, name = self.bundle.policy, self.thresholds_of(prepared.name, decoding)
        asked = policy is None and str(exit) == AUTO
        policy = self.policy(exit, chunk, name) if policy is None else policy
        budget = self.budget if budget is None else budget
        if whole is not None and budget is not None and budget.max_exit is not None:
            whole = CappedPolicy(whole, budget.max_exit)
        return Stream(
            self.bundle,
            self.engine,
            self.tokens,
            policy,
            controller=None if budget is None else self.controller(budget, policy, chunk),
            monitor=self.monitor,
            monitor_place=calibrated.place(name, str(chunk)) if calibrated is not None and asked else None,
            chunk_frames=chunk_frames,
            sample_rate=sample_rate,
            formatter=formatter,
            keep_log_probs=keep_log_probs,
            decoding=decoding,
            nbest=nbest,
            endpoint=endpoint,
            second_pass=whole,
        )

    def decoder(self, name: str = AUTO, *, lm: str | Path | None = None, config: BeamConfig | None = None) -> Decoder:
        """Prepares a decoder, to be shared by streams.

        Args:
            name: ``"greedy"``, ``"beam"``, ``"lm"``, or ``"auto"``: ``"lm"`` if there is a language model, else
                ``"greedy"``.
            lm: The language model's file; None for the bundle's own.
            config: Widths and weights; None for the defaults.

        Raises:
            OptionError: If there is no such decoder, it lacks a language model, or it is given what it doesn't use: a
                language model, or for ``greedy`` a search's ``config``.
            LanguageModelError: If the file isn't a sound language model.
        """
        file = self.bundle.lm_file if lm is None else Path(lm)
        if name == AUTO:
            name = GREEDY if file is None else LM
        elif lm is not None and name != LM:
            raise OptionError(f"lm={str(lm)!r}: decoder={name!r} uses no language model; {LM!r} does")
        model = NgramModel.load(file) if name == LM and file is not None else None
        phones = None if self.phones is None else self.phones.pieces
        if name == GREEDY and config is not None:
            raise OptionError(f"config: decoder={GREEDY!r} is no search and has none")
        return Decoder(name, self.tokens.pieces, self.bundle.spec.tokens.blank, lm=model, config=config, phones=phones)

    def thresholds_of(self, decoder: str, decoding: Decoding) -> str | None:
        """Says whose thresholds hold: those of a decoder that reads what it read in calibration, else any decoder's.

        Args:
            decoder: The decoder's name.
            decoding: What it has started: with a hotword that it can't pronounce it reads word pieces, not phones.

        Returns:
            What `policy` takes as ``decoder``.

        Example:
            >>> decoder = recognizer.decoder("lm")  # doctest: +SKIP
            >>> recognizer.policy("auto", 640, recognizer.thresholds_of("lm", decoder.start()))  # doctest: +SKIP
        """
        calibrated = self.bundle.policy
        if calibrated is None or decoder not in calibrated.decoders:
            return decoder
        phones = calibrated.decoders[decoder].calibration.get("phones", self.phones is not None)
        return decoder if decoding.phones == phones else None

    def _prepared(self, decoder: Decoder | str) -> Decoder:
        """A decoder by its name, prepared when it is first asked for."""
        if not isinstance(decoder, str):
            return decoder
        if decoder not in self._decoders:
            self._decoders[decoder] = self.decoder(decoder)
        return self._decoders[decoder]

    def chunk_frames(self, chunk: int | str) -> int | None:
        """Gives the frames of a chunk size in ms, None for ``"full"``.

        Raises:
            OptionError: If the bundle doesn't allow it.
        """
        spec = self.bundle.spec
        name = str(chunk)
        if name == FULL:
            return None
        if name not in spec.chunk_names:
            raise OptionError(f"chunk={chunk!r}: bundle {spec.name!r} allows {', '.join(spec.chunk_names)}")
        return spec.chunks.allowed[spec.chunk_names.index(name)]

    def policy(self, exit: int | str = AUTO, chunk: int | str = 640, decoder: str | None = None) -> Policy:
        """Makes the policy for an exit and a chunk size.

        Args:
            exit: ``"auto"`` for the bundle's thresholds, or a depth from 1.
            chunk: Chunk size in ms, or ``"full"``: thresholds differ.
            decoder: What makes text of the exits, ``"greedy"`` or ``"lm"``: so they do where the bundle was calibrated
                for several. None takes those that hold for any.

        Raises:
            OptionError: If there is no such exit, or no threshold for this precision and chunk size.
        """
        self.chunk_frames(chunk)
        exits = self.bundle.spec.encoder.exits
        if exit == AUTO:
            return self._threshold_policy(str(chunk), decoder)
        depth = int(exit) if isinstance(exit, str) and exit.isdecimal() else exit
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= exits:
            raise OptionError(f"exit={exit!r}: bundle {self.bundle.spec.name!r} has exits 1 to {exits}, or {AUTO!r}")
        return FixedPolicy(depth)

    def controller(self, budget: Budget, policy: Policy, chunk: int | str = 640) -> BudgetController:
        """Makes the controller that keeps a budget around a policy.

        Args:
            budget: What the device can afford.
            policy: Decides where the budget doesn't; thresholds come with the bundle's cheaper levels.
            chunk: Chunk size in ms, or ``"full"``: costs differ.

        Raises:
            OptionError: If the bundle doesn't allow the chunk size, or has no exit as deep as the budget's.
        """
        name, spec, calibrated = str(chunk), self.bundle.spec, self.bundle.policy
        self.chunk_frames(chunk)
        policies = [policy]
        parts = () if calibrated is None else (calibrated, *calibrated.decoders.values())
        for part in parts if isinstance(policy, ThresholdPolicy) else ():
            if name in part.thresholds and policy == calibrated_policy(part, name):
                levels = range(1, len(part.levels.get(name, ())) + 1)
                policies += [calibrated_policy(part, name, level=level) for level in levels]
                break
        macs = [exit.macs_per_second.get(name, float(exit.exit)) for exit in spec.exits]
        return BudgetController(
            budget,
            policies,
            exits=spec.encoder.exits,
            frame_seconds=spec.frame_seconds,
            costs=self.costs.setdefault(name, SegmentCosts(macs)),
            readers=self._device_readers(),
        )

    def _device_readers(self) -> Sequence[DeviceReader]:
        """One set for all streams: the CPU's load is that since it was last read."""
        if self.readers is not None:
            return self.readers
        if not self._readers:
            self._readers[:] = default_readers()
        return self._readers

    def _threshold_policy(self, chunk: str, decoder: str | None) -> Policy:
        spec, calibrated = self.bundle.spec, self.bundle.policy
        advice = f"calibrate the bundle, or fix the depth with exit=1 to {spec.encoder.exits}"
        if spec.encoder.exits == 1:
            return FixedPolicy(1)
        if calibrated is None:
            raise OptionError(f"exit={AUTO!r}: bundle {spec.name!r} has no policy.json with thresholds; {advice}")
        if calibrated.precision != self.precision:
            have = f"thresholds for precision {calibrated.precision}, not {self.precision}"
            raise OptionError(f"exit={AUTO!r}: bundle {spec.name!r} has {have}; {advice}")
        calibrated = calibrated.of(decoder, chunk)
        if chunk not in calibrated.thresholds:
            have = f"thresholds for chunk {', '.join(calibrated.thresholds)}, not {chunk}"
            raise OptionError(f"exit={AUTO!r}: bundle {spec.name!r} has {have}; {advice}")
        return calibrated_policy(calibrated, chunk)


def _phrases(hotwords: Sequence[Hotword | str]) -> list[Hotword]:
    if isinstance(hotwords, str):
        raise OptionError(f"hotwords={hotwords!r}: expected a sequence of phrases, like [{hotwords!r}]")
    return [Hotword(word) if isinstance(word, str) else word for word in hotwords]


__all__ = ["AUTO", "Recognizer"]
