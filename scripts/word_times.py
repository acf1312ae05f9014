"""``python scripts/word_times.py STREAMED.npz FULL.npz --lm FILE``: are a decoder's word times right?

STREAMED holds log-probabilities of the chunks that are used, FULL those of the same utterances with full context
(``scripts/log_probs.py … --chunk 640`` and ``--chunk full``). What the first are decoded to is compared with a forced
alignment of the transcript on the second, word by word, where the word is right.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jiwer
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from decoders import run
from log_probs import read

from edge_asr.decoding.decoder import GREEDY, LM, Decoder
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.words import Confidence, words_of
from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.evaluation.forced_alignment import force_align

FRAME_MS = 40


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("streamed", type=Path, help="log-probabilities that are decoded")
    parser.add_argument("full", type=Path, help="log-probabilities that the transcript is aligned with")
    parser.add_argument("--lm", type=Path, help="language model: the decoder lm is measured too")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth utterance only")
    args = parser.parse_args()
    try:
        kept, pieces, _, phones = read(args.streamed)
        whole = {k.id: k for k in read(args.full).kept}
        kept = kept[:: args.every]
        missing = [k.id for k in kept if k.id not in whole]
        if missing:
            raise DataError(f"{args.full}: lacks the utterance {missing[0]!r}")
        truth = [words_of(force_align(whole[k.id].log_probs, pieces, k.text), pieces, Confidence()) for k in kept]
        decoders = {GREEDY: Decoder(GREEDY, pieces)}
        if args.lm:
            decoders[LM] = Decoder(LM, pieces, lm=NgramModel.load(args.lm), phones=phones)
        print("| decoder | right words | start, median error (ms) | 90 % | end, median error (ms) | 90 % |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, decoder in decoders.items():
            starts, ends = [], []
            for utterance, right, decoded in zip(kept, truth, run(decoder, kept).decoded, strict=True):
                for part in jiwer.process_words(utterance.text, decoded.text.upper()).alignments[0]:
                    for i in range(part.ref_end_idx - part.ref_start_idx if part.type == "equal" else 0):
                        a, b = right[part.ref_start_idx + i], decoded.words[part.hyp_start_idx + i]
                        starts.append(FRAME_MS * abs(a.start - b.start))
                        ends.append(FRAME_MS * abs(a.end - b.end))
            if not starts:
                raise DataError(f"decoder {name}: no word is right, so no time can be compared")
            cells = [f"{np.quantile(values, q):.0f}" for values in (starts, ends) for q in (0.5, 0.9)]
            print(f"| {name} | {len(starts)} | {' | '.join(cells)} |", flush=True)
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
