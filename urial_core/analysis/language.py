"""Language: which language a text is in, as far as script and common function words tell."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

__all__ = ["language_of"]

_FUNCTION_WORDS = {
    "de": "der die das und ist nicht ein eine zu mit den von auf für wie ich sie es dem des warum",
    "en": "the of and is to in it that for you a what how why are with this be on or can do does",
    "es": "el la los las de que y es en un una por con para cómo qué no se del al como está",
    "fr": "le la les des est et un une que dans pour pas qui sur comment pourquoi du ce vous au",
    "it": "il la che di e è un una per non con sono come perché del della gli le nel si",
    "nl": "de het een en is van dat niet te in op voor met zijn hoe waarom wat je ik aan",
    "pt": "o a os as de que e é um uma para com não em por como do da se você são",
}
_WORD_SETS = {name: frozenset(text.split()) for name, text in _FUNCTION_WORDS.items()}
_LATIN_WORD = re.compile(r"[^\W\d_]+")
_LEAST_HITS = 2
"""Function words without which a text in Latin script is not assigned to a language."""


def language_of(text: str) -> str:
    """Return a text's language, or its script, where the script tells enough; empty if unclear.

    Japanese is told from Chinese by its kana. Texts in Latin script are told apart by common
    function words of seven languages (the word lists are too short to tell more apart).

    Returns:
        A BCP 47 tag such as "de" or "ja", or the script's name such as "cyrillic".
    """
    scripts = Counter(filter(None, map(_script, text)))
    if not scripts:
        return ""
    if (
        scripts["hiragana"] + scripts["katakana"] > 0.1 * (scripts.total() - scripts["latin"])
        and scripts["latin"] < scripts.total() / 2
    ):
        return "ja"
    script, count = scripts.most_common(1)[0]
    if script == "cjk":
        return "zh"
    if script == "hangul":
        return "ko"
    if script != "latin":
        return script if count > scripts.total() / 2 else ""
    return _latin_language(text)


def _latin_language(text: str) -> str:
    counts = Counter(_LATIN_WORD.findall(text.lower()))
    hits = Counter(
        {name: sum(counts[word] for word in known) for name, known in _WORD_SETS.items()}
    )
    (best, most), (_, second) = hits.most_common(2)
    return best if most >= _LEAST_HITS and most > second else ""


def _script(character: str) -> str:
    """Return the script of a letter, as its Unicode name begins; empty for other characters."""
    if character.isascii():
        return "latin" if character.isalpha() else ""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").partition(" ")[0].lower()
