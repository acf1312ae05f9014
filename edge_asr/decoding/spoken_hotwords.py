"""Hotwords for a search on phones: how they are said, and the lexicon with the words that it lacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_asr.decoding.hotwords import Hotword, HotwordGraph
from edge_asr.decoding.hypotheses import Floats
from edge_asr.decoding.lexicon import Lexicon, PhoneTrie, Way
from edge_asr.decoding.ngram import UNKNOWN, NgramModel
from edge_asr.decoding.tokens import WORD_START
from edge_asr.errors import OptionError


@dataclass(frozen=True, slots=True, eq=False)
class SpokenHotwords:
    """What a search needs to find phrases in phones.

    Attributes:
        lm: The language model.
        graph: The phrases, in each of their pronunciations.
        lexicon: The language model's words, and those of phrases: a word that the model lacks has an id from its number
            of words on, in the order of ``words``.
        ahead: As `best_through` gives it, for this lexicon.
        words: The words that the language model lacks.
    """

    lm: NgramModel
    graph: HotwordGraph
    lexicon: Lexicon
    ahead: Floats
    words: tuple[str, ...]

    @classmethod
    def of(
        cls, hotwords: Sequence[Hotword], lm: NgramModel, trie: PhoneTrie, lexicon: Lexicon, ahead: Floats
    ) -> SpokenHotwords | None:
        """Looks pronunciations up, and takes those that phrases bring with them.

        Args:
            hotwords: The phrases.
            lm: The words that are known.
            trie: Their pronunciations.
            lexicon: The same, for the search.
            ahead: `best_through` of the same.

        Returns:
            None if a word has no pronunciation.

        Raises:
            OptionError: If a pronunciation has a phone that the model doesn't give.
        """
        said = _said(hotwords, trie.names)
        known = {word: trie.say(lm.word_id(word)) for word in said if lm.word_id(word) != UNKNOWN}
        ways = {word: list(dict.fromkeys([*known.get(word, ()), *said[word]])) for word in said}
        graph = HotwordGraph.spoken(hotwords, trie.names, ways.__getitem__)
        if graph is None:
            return None
        words = tuple(word for word in ways if word not in known)
        number = {word: lm.words + place for place, word in enumerate(words)}
        added = {number.get(word, lm.word_id(word)): said[word] for word in said if said[word]}
        if added:
            unigrams = lm.unigrams()
            likely = {word: float(unigrams[word if word < lm.words else UNKNOWN]) for word in added}
            lexicon, ahead = lexicon.grown(added, ahead, likely)
        return cls(lm, graph, lexicon, ahead, words)

    def spelling(self, word: int) -> str:
        """Gives the letters of a word of the model, or of one that it lacks."""
        return self.words[word - self.lm.words] if word >= self.lm.words else self.lm.spelling(word)


def unspoken(hotwords: Sequence[Hotword], lm: NgramModel, trie: PhoneTrie) -> list[str]:
    """Gives the words of phrases that neither the model nor the phrases say how to pronounce."""
    return [word for word, ways in _said(hotwords, trie.names).items() if not ways and not trie.say(lm.word_id(word))]


def _said(hotwords: Sequence[Hotword], names: Sequence[str]) -> Mapping[str, list[Way]]:
    """Each word of the phrases, with the pronunciations that are given for it, as ids."""
    ids = {name: place for place, name in enumerate(names)}
    said: dict[str, list[Way]] = {}
    for hotword in hotwords:
        for word, way in zip(hotword.phrase.split(), hotword.ways, strict=True):
            given = said.setdefault(word, [])
            if way:
                marked = [WORD_START + way[0], *way[1:]]
                if bad := [name for name in marked if name not in ids]:
                    phone = bad[0].removeprefix(WORD_START)
                    allowed = ", ".join(sorted({name.removeprefix(WORD_START) for name in names[1:]}))
                    raise OptionError(f"hotword {hotword.phrase!r}: no phone is called {phone!r}; allowed: {allowed}")
                given.append(tuple(ids[name] for name in marked))
    return {word: list(dict.fromkeys(ways)) for word, ways in said.items()}
