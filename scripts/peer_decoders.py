"""``python scripts/peer_decoders.py FILE.npz --lm FILE --arpa FILE``: our search beside pyctcdecode with kenlm.

Both get the same log-probabilities, the same language model and the same weights. The packages are not among
the project's dependencies: ``pip install pyctcdecode kenlm``.
"""

from __future__ import annotations

import argparse
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

from edge_asr.decoding.decoder import BEAM, DEFAULTS, LM, Decoder
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import EdgeAsrError, MissingExtraError
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


def report(name: str, kept: Sequence[Kept], decode: Callable[[Any], str]) -> None:
    """Prints a decoder's word error rate and CPU time."""
    errors, seconds = ErrorCount(), 0.0
    for utterance in kept:
        started = time.process_time()
        text = decode(utterance.log_probs)
        seconds += time.process_time() - started
        errors += word_errors(utterance.text, text)
    audio = sum(k.seconds for k in kept)
    print(f"| {name} | {100 * errors.rate:.2f} | {1000 * seconds / audio:.2f} |", flush=True)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="log-probabilities of scripts/log_probs.py")
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--arpa", type=Path, required=True, help="the same model as unpacked ARPA")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth utterance only")
    parser.add_argument("--widths", type=int, nargs="+", default=[32])
    args = parser.parse_args()
    try:
        kept, pieces, *_ = read(args.file)
        kept = kept[:: args.every]
        lm = NgramModel.load(args.lm)
        config = DEFAULTS[LM]
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

    def heard(log_probs: Any) -> Any:
        """The frames as our search takes them (log_probs itself stays as it is)."""
        frames = np.array(log_probs, dtype=np.float32)
        frames[:, 0] -= config.blank_penalty
        return frames * config.acoustic_scale

    def ours(decoder: Decoder) -> Callable[[Any], str]:
        def decode(log_probs: Any) -> str:
            decoding = decoder.start()
            decoding.push(log_probs)
            return decoding.result().text

        return decode

    print("| decoder | WER % | ms per second of audio |\n| --- | --- | --- |")
    for width in args.widths:
        beam = Decoder(BEAM, pieces, config=replace(DEFAULTS[BEAM], width=width))
        report(f"edge-asr, beam, width {width}", kept, ours(beam))
        report(f"pyctcdecode, beam, width {width}", kept, lambda x, w=width: plain.decode(x, beam_width=w))  # type: ignore[misc]
        ours_lm = Decoder(LM, pieces, lm=lm, config=replace(config, width=width))
        report(f"edge-asr, lm, width {width}", kept, ours(ours_lm))
        report(f"pyctcdecode + kenlm, width {width}", kept, lambda x, w=width: full.decode(heard(x), beam_width=w))  # type: ignore[misc]
    return 0


if __name__ == "__main__":
    sys.exit(main())
