"""Word error rates of weights on dev samples, before they are exported: all exits greedily, or with a language model.

    python scripts/score.py RUN/last.pt --data PREPARED
    python scripts/score.py RUN/last.pt --data PREPARED --lm edge_asr/models/en-tiny/en.lm --out FILE.json

With --lm the last exit is read by the search that ``edge-asr`` uses by default, on phones where the model has them; it
takes a second of CPU time for about ten utterances. PREPARED is what scripts/prepare_data.py wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from edge_asr.decoding.decoder import LM, Decoder
from edge_asr.decoding.ngram import NgramModel
from edge_asr.errors import DataError, EdgeAsrError
from edge_asr.training.config import TrainConfig
from edge_asr.training.dev_sets import DevSets
from edge_asr.training.phones import TABLE
from edge_asr.training.scoring import Read
from edge_asr.training.weights import load_weights


def searching(lm: NgramModel, pieces: tuple[str, ...], phones: int) -> Read:
    """Reads an utterance's log-probabilities by a search with a language model; DataError for unknown phones."""
    if phones not in (0, len(TABLE)):
        raise DataError(f"the model gives {phones} phones; allowed: none, or the {len(TABLE)} of the table")
    decoder = Decoder(LM, pieces, lm=lm, phones=TABLE if phones else None)

    def read(log_probs: torch.Tensor) -> str:
        decoding = decoder.start()
        columns = slice(len(pieces), None) if decoding.phones else slice(len(pieces))
        decoding.push(log_probs[:, columns].numpy())
        return decoding.result().text

    return read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="checkpoint or .safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder that scripts/prepare_data.py wrote")
    parser.add_argument("--lm", type=Path, help="language model for the last exit (python -m export lm)")
    parser.add_argument("--config", type=Path, help="its data.dev and data.dev_utterances (default: the run's own)")
    parser.add_argument("--utterances", type=int, help="of each corpus, instead of what the configuration says")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--out", type=Path, help="errors of each utterance, JSON")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        model, tokenizer, notes = load_weights(args.weights)
        if args.config is None and "config" not in notes:
            raise DataError(f"weights {str(args.weights)!r} say nothing of their run; --config names dev corpora")
        config = TrainConfig.load(args.config, model.config) if args.config else TrainConfig.from_dict(notes["config"])
        if args.utterances is not None:
            config = replace(config, data=replace(config.data, dev_utterances=args.utterances))
        read = None
        if args.lm:
            read = searching(NgramModel.load(args.lm), tuple(tokenizer.pieces()), model.config.phones)
        scores = DevSets(config, args.data, tokenizer).score(model, read)
        for name, score in scores.items():
            print(f"{name}, {len(score.words)} utterances: " + " ".join(f"{100 * wer:.2f}" for wer in score.wers))
        if args.out:
            args.out.write_text(json.dumps({name: asdict(score) for name, score in scores.items()}), encoding="utf-8")
    except EdgeAsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
