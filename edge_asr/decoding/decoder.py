"""Decoders by name: what they need is prepared once and shared by all streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_asr.decoding.beam import BeamSearch
from edge_asr.decoding.beam_config import BeamConfig
from edge_asr.decoding.beam_decoding import BeamDecoding
from edge_asr.decoding.decoding import Decoding, GreedyDecoding
from edge_asr.decoding.hotwords import Hotword, HotwordGraph
from edge_asr.decoding.hypotheses import Floats
from edge_asr.decoding.lexicon import Lexicon, Way, best_through
from edge_asr.decoding.ngram import NgramModel
from edge_asr.decoding.spoken_hotwords import SpokenHotwords, unspoken
from edge_asr.decoding.words import Confidence
from edge_asr.errors import OptionError

GREEDY, BEAM, LM = "greedy", "beam", "lm"
DECODERS = (GREEDY, BEAM, LM)

LM_SEARCH = BeamConfig(
    width=96,
    beam=8.0,
    tokens=8,
    token_min=2e-4,
    blank_penalty=2.0,
    acoustic_scale=0.65,
    lm_weight=0.65,
    word_bonus=1.0,
)
PHONE_SEARCH = replace(LM_SEARCH, acoustic_scale=0.5, word_bonus=0.0, tokens=10, lexicon=True)
DEFAULTS = {BEAM: BeamConfig(width=8, word_bonus=0.0), LM: LM_SEARCH}
"""Tuned on LibriSpeech dev-clean; scripts/decoders.py does it. `PHONE_SEARCH` is for ``lm`` on phones."""

PHONE_CONFIDENCE = Confidence(offset=0.80, slope=2.57)
CONFIDENCES = {GREEDY: Confidence(), BEAM: Confidence(), LM: Confidence(offset=0.15, slope=2.47)}
"""Fitted on the same; a language model mends words whose tokens were unlikely."""


class Decoder:
    """How log-probabilities become text; `start` begins a stream's decoding.

    ``greedy`` takes the best token of each frame; ``beam`` sums over alignments and spellings; ``lm`` also
    weighs words by a language model. Where model and language model know the same phones, ``lm`` reads those: they are
    learned from less speech than spellings, and words never heard have a pronunciation. It then writes the language
    model's words and the hotwords alone; with a hotword that neither of them says how to pronounce it reads pieces.

    Args:
        name: One of `DECODERS`.
        pieces: The token table's pieces.
        blank: Id of the blank.
        lm: The language model; needed by ``lm`` alone.
        config: Widths and weights; None for the defaults.
        confidence: What a word's confidence is made of; None for the defaults.
        phones: The model's phones, blank first; None if it has none, or ``lm`` shall read pieces all the same.

    Raises:
        OptionError: If there is no such decoder, ``lm`` lacks its model, or that spells words in other phones.

    Example:
        >>> decoding = Decoder("beam", ("<blank>", "▁A", "B")).start()
        >>> decoding.push(np.log(np.eye(3, dtype=np.float32)[[1, 0, 2]] + 1e-4))
        >>> decoding.result().text
        'AB'
    """

    def __init__(
        self,
        name: str,
        pieces: tuple[str, ...],
        blank: int = 0,
        *,
        lm: NgramModel | None = None,
        config: BeamConfig | None = None,
        confidence: Confidence | None = None,
        phones: tuple[str, ...] | None = None,
    ) -> None:
        if name not in DECODERS:
            raise OptionError(f"decoder={name!r}: expected one of {', '.join(DECODERS)}")
        if name == LM and lm is None:
            raise OptionError(f"decoder={LM!r}: needs a language model, and the bundle has none; name its file")
        self.name, self._pieces, self._blank = name, pieces, blank
        self._lm = lm if name == LM else None
        trie = None if self._lm is None or phones is None else self._lm.phones
        if trie is not None and trie.names != phones:
            raise OptionError("lm: its pronunciations are in other phones than the model's; make it with the same ones")
        self._phones = phones if trie is not None else None
        self._config, self._confidence = config, confidence
        self._readers: dict[bool, _Reader] = {}

    @property
    def phones(self) -> bool:
        """Whether it reads phones, unless there is a hotword without a pronunciation."""
        return self._phones is not None

    def said(self, word: str) -> Way:
        """Gives a word's first pronunciation as ids of phones; none where it has none, or pieces are read."""
        if self._lm is None or self._lm.phones is None or not self.phones:
            return ()
        ways = self._lm.phones.say(self._lm.word_id(word))
        return ways[0] if ways else ()

    def unspoken(self, hotwords: Sequence[Hotword]) -> list[str]:
        """Gives the words of phrases that have no pronunciation, so that pieces are read; none where they are anyway.

        Raises:
            OptionError: If a pronunciation has a phone that the model doesn't give.
        """
        if self._lm is None or self._lm.phones is None or not self.phones:
            return []
        return unspoken(hotwords, self._lm, self._lm.phones)

    def start(self, hotwords: Sequence[Hotword] = ()) -> Decoding:
        """Begins a decoding.

        Args:
            hotwords: Phrases to prefer in it.

        Raises:
            OptionError: If there are hotwords and the decoder is greedy, or the model can't spell one.
        """
        if self.name == GREEDY:
            if hotwords:
                raise OptionError(f"hotwords need a search: decoder={BEAM!r} or {LM!r}, not {GREEDY!r}")
            return GreedyDecoding(self._pieces, self._blank, self._confidence or CONFIDENCES[GREEDY])
        spoken = self._spoken(hotwords) if hotwords else None
        reader = self._reader(phones=self.phones and (spoken is not None or not hotwords))
        graph, lexicon, ahead = None, reader.lexicon, reader.ahead
        spelling = None if self._lm is None else self._lm.spelling
        if spoken is not None:
            graph, lexicon, ahead, spelling = spoken.graph, spoken.lexicon, spoken.ahead, spoken.spelling
        elif hotwords:
            graph = HotwordGraph(hotwords, reader.pieces, reader.blank)
        search = BeamSearch(
            reader.config,
            reader.pieces,
            reader.blank,
            lm=self._lm,
            lexicon=lexicon,
            ahead=ahead,
            hotwords=graph,
            phones=reader.phones,
        )
        return BeamDecoding(search, reader.pieces, reader.confidence, spelling)

    def _spoken(self, hotwords: Sequence[Hotword]) -> SpokenHotwords | None:
        """Phrases in phones; None where pieces are read, or a word has no pronunciation."""
        lm = self._lm
        if not self.phones or lm is None or lm.phones is None:
            return None
        reader = self._reader(phones=True)
        assert reader.lexicon is not None
        assert reader.ahead is not None
        return SpokenHotwords.of(hotwords, lm, lm.phones, reader.lexicon, reader.ahead)

    def _reader(self, *, phones: bool) -> _Reader:
        """What a search of pieces or phones needs; prepared when it is first asked for."""
        if phones not in self._readers:
            lm, pieces, blank = self._lm, self._pieces, self._blank
            config, confidence = DEFAULTS[self.name], CONFIDENCES[self.name]
            if phones and self._phones is not None:
                pieces, blank, config, confidence = self._phones, 0, PHONE_SEARCH, PHONE_CONFIDENCE
            lexicon = ahead = None
            if lm is not None:
                if phones and lm.phones is not None:
                    lexicon, ahead = Lexicon.of_phones(lm.phones), best_through(lm.phones, lm.unigrams())
                else:
                    lexicon, ahead = Lexicon.build(lm.trie, pieces, blank), best_through(lm.trie, lm.unigrams())
            self._readers[phones] = _Reader(
                pieces, blank, phones, self._config or config, self._confidence or confidence, lexicon, ahead
            )
        return self._readers[phones]


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """The tokens that a search reads, its settings, and the words that they spell."""

    pieces: tuple[str, ...]
    blank: int
    phones: bool
    config: BeamConfig
    confidence: Confidence
    lexicon: Lexicon | None
    ahead: Floats | None
