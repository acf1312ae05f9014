"""``python scripts/peer_decoders.py FILE.npz --lm FILE --arpa FILE``: our search beside others.

On word pieces beside pyctcdecode with kenlm, and with ``--phones`` on phones beside flashlight-text's lexicon decoder
with kenlm. All get the same log-probabilities, language model, pronunciations and weights. The packages are not among
the project's dependencies: ``pip install pyctcdecode kenlm flashlight-text``.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from log_probs import Kept, read

from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.decoder import BEAM, DEFAULTS, LM, PHONE_SEARCH, Decoder
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import DataError, EdgeAsrError, MissingExtraError, OptionError
from edge_asr.evaluation.wer import ErrorCount, word_errors


def peer(pieces: Sequence[str], **options: Any) -> Any:
    """Builds a pyctcdecode decoder; the blank is the empty label there.

    Raises:
        MissingExtraError: If it isn't installed.
    """
    try:
        build: Any = import_module("pyctcdecode").build_ctcdecoder
    except ImportError as error:
        raise MissingExtraError(f"pip install pyctcdecode kenlm: {error}") from error
    return build(["", *pieces[1:]], **options)


def flashlight(
    phones: Sequence[str], words: dict[str, list[tuple[int, ...]]], arpa: Path, config: BeamConfig, best_path: bool
) -> Callable[[Any], str]:
    """Builds flashlight-text's lexicon decoder over phones, its trie smeared with unigrams as ours looks ahead.

    Args:
        phones: The table, blank first.
        words: Each word's pronunciations.
        arpa: The language model.
        config: Width and weights.
        best_path: Whether a hypothesis has its best alignment's probability in place of all alignments'.

    Raises:
        MissingExtraError: If it isn't installed.
    """
    try:
        text: Any = import_module("flashlight.lib.text.decoder")
        language: Any = import_module("flashlight.lib.text.decoder.kenlm")
        tables: Any = import_module("flashlight.lib.text.dictionary")
    except ImportError as error:
        raise MissingExtraError(f"pip install flashlight-text kenlm: {error}") from error
    table = tables.create_word_dict({word: [list[str]()] for word in (*words, "<unk>")})
    lm = language.KenLM(str(arpa), table)
    trie = text.Trie(len(phones), 0)
    start = lm.start(False)
    for word, ways in words.items():
        place = table.get_index(word)
        score = lm.score(start, place)[1]
        for way in ways:
            trie.insert(list(way), place, score)
    trie.smear(text.SmearingMode.MAX)
    options = text.LexiconDecoderOptions(
        beam_size=config.width,
        beam_size_token=config.tokens,
        beam_threshold=config.beam,
        lm_weight=config.lm_weight * math.log(10),
        word_score=config.word_bonus,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=not best_path,
        criterion_type=text.CriterionType.CTC,
    )
    search = text.LexiconDecoder(options, trie, lm, 0, 0, table.get_index("<unk>"), [], False)

    def decode(frames: Any) -> str:
        found = search.decode(frames.ctypes.data, *frames.shape)[0].words
        return " ".join(table.get_entry(word) for word in found if word >= 0)

    return decode


def pronunciations(lm: NgramModel) -> dict[str, list[tuple[int, ...]]]:
    """Every word that has pronunciations in a language-model file, and these."""
    trie, words = lm.phones, dict[str, list[tuple[int, ...]]]()
    if trie is None:
        raise OptionError("--phones: the language model has no pronunciations; python -m export lm --pronunciations")
    for node in np.flatnonzero(trie.word >= 0).tolist():
        way, place = list[int](), node
        while place:
            way.append(int(trie.labels[place]))
            place = int(trie.parent[place - 1])
        for word in (int(trie.word[node]), *trie.others.get(node, ())):
            words.setdefault(lm.spelling(word), []).append(tuple(way[::-1]))
    return words


def report(name: str, kept: Sequence[Kept], decode: Callable[[Any], str], *, phones: bool = False) -> None:
    """Prints a decoder's word error rate and CPU time."""
    errors, seconds = ErrorCount(), 0.0
    for utterance in kept:
        started = time.process_time()
        text = decode(utterance.phones if phones else utterance.log_probs)
        seconds += time.process_time() - started
        errors += word_errors(utterance.text, text)
    audio = sum(k.seconds for k in kept)
    print(f"| {name} | {100 * errors.rate:.2f} | {1000 * seconds / audio:.2f} |", flush=True)


def heard(log_probs: Any, config: BeamConfig) -> Any:
    """The frames as our search takes them (log_probs itself stays as it is)."""
    frames = np.array(log_probs, dtype=np.float32)
    frames[:, 0] -= config.blank_penalty
    return frames * np.float32(config.acoustic_scale)


def ours(decoder: Decoder) -> Callable[[Any], str]:
    """Our search as a function of log-probabilities."""

    def decode(log_probs: Any) -> str:
        decoding = decoder.start()
        decoding.push(log_probs)
        return decoding.result().text

    return decode


def beside_flashlight(
    kept: Sequence[Kept],
    pieces: tuple[str, ...],
    phones: tuple[str, ...],
    lm: NgramModel,
    arpa: Path,
    widths: Sequence[int],
) -> None:
    """Prints both decoders' error rates and times on phones, flashlight's with sums over alignments and without."""
    words = pronunciations(lm)
    print("| decoder | WER % | ms per second of audio |\n| --- | --- | --- |")
    for width in widths:
        config = replace(PHONE_SEARCH, width=width)
        decoder = Decoder(LM, pieces, lm=lm, config=config, phones=phones)
        report(f"edge-asr, lm on phones, width {width}", kept, ours(decoder), phones=True)
        for best_path in (False, True):
            peer = flashlight(phones, words, arpa, config, best_path)
            name = f"flashlight-text + kenlm, {'best alignment' if best_path else 'all alignments'}, width {width}"
            report(name, kept, lambda x, f=peer, c=config: f(heard(x, c)), phones=True)  # type: ignore[misc]


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="log-probabilities of scripts/log_probs.py")
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--arpa", type=Path, required=True, help="the same model as unpacked ARPA")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth utterance only")
    parser.add_argument("--widths", type=int, nargs="+", default=[32])
    parser.add_argument("--phones", action="store_true", help="beside flashlight-text, on phones")
    args = parser.parse_args()
    try:
        kept, pieces, _, phones = read(args.file)
        kept = kept[:: args.every]
        lm = NgramModel.load(args.lm)
        config = PHONE_SEARCH if args.phones else DEFAULTS[LM]
        if args.phones:
            if phones is None:
                raise DataError(f"{args.file}: holds no phones")
            beside_flashlight(kept, pieces, phones, lm, args.arpa, args.widths)
            return 0
        words = [lm.trie.spelling(int(node)) for node in np.flatnonzero(lm.trie.word >= 0)]
        plain = peer(pieces)
        full = peer(
            pieces,
            kenlm_model_path=str(args.arpa),
            unigrams=words,
            alpha=config.lm_weight,
            beta=config.word_bonus,
            unk_score_offset=-config.unknown_penalty,
        )
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    print("| decoder | WER % | ms per second of audio |\n| --- | --- | --- |")
    for width in args.widths:
        beam = Decoder(BEAM, pieces, config=replace(DEFAULTS[BEAM], width=width))
        report(f"edge-asr, beam, width {width}", kept, ours(beam))
        report(f"pyctcdecode, beam, width {width}", kept, lambda x, w=width: plain.decode(x, beam_width=w))  # type: ignore[misc]
        ours_lm = Decoder(LM, pieces, lm=lm, config=replace(config, width=width))
        report(f"edge-asr, lm, width {width}", kept, ours(ours_lm))
        name = f"pyctcdecode + kenlm, width {width}"
        report(name, kept, lambda x, w=width: full.decode(heard(x, config), beam_width=w))  # type: ignore[misc]
    return 0


if __name__ == "__main__":
    sys.exit(main())
