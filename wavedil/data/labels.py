"""Words, and the classes that a model tells apart."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from wavedil.config import DataConfig
from wavedil.data.listing import utf8_or_latin1

UNKNOWN = "_unknown_"
SILENCE = "_silence_"
BACKGROUND = "_background_noise_"
_RESERVED = (UNKNOWN, SILENCE, BACKGROUND)

# Speech Commands V2; V1 has them but for backward, follow, forward, learn and visual.
# fmt: off
WORDS_35 = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)
# fmt: on
# The keywords of the 12-class task, in the order of Warden 2018, arXiv:1804.03209.
WORDS_10 = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


def word_of(folder: str) -> str:
    """The word that the name of a folder is, in composed Unicode, whichever way the system writes it.

    A name that is not UTF-8 is read as Latin-1. A reserved name may be written in any case.
    """
    word = unicodedata.normalize("NFC", utf8_or_latin1(folder))
    return word.lower() if word.lower() in _RESERVED else word


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model in the order of its logits: the words, then ``_unknown_``, then ``_silence_``.

    Args:
        labels: all different, whether Unicode is composed or not; kept composed.

    Raises:
        ValueError: if there are none, or one is there twice.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(unicodedata.normalize("NFC", label) for label in self.labels))
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise ValueError(f"labels must differ; given more than once: {', '.join(twice)}")
        if not self.words:
            raise ValueError(f"expected at least one word among the labels, got {list(self.labels)}")

    @classmethod
    def from_config(cls, config: DataConfig, present: Iterable[str] = ()) -> "LabelSet":
        """The labels that ``words``, ``unknown`` and ``silence`` of the config ask for; "12" has both of the latter.

        Args:
            config: of the data.
            present: the words that there are, which "all" takes, and "auto" of a folder.

        Raises:
            ValueError: if a word is no text, is reserved or is there twice, or there is none.
        """
        twelve = config.words == "12"
        if isinstance(config.words, str):
            chosen = "all" if config.words == "auto" and config.source == "folder" else config.words
            all_words = tuple(word for word in present if word not in _RESERVED)
            named = {"35": WORDS_35, "auto": WORDS_35, "12": WORDS_10, "all": all_words}
            if chosen not in named:
                raise ValueError(f'data.words: expected "auto", "all", "35", "12" or a list of words, got "{chosen}"')
            words = named[chosen]
        else:
            words = tuple(_checked(word) for word in config.words)
        extra = [(UNKNOWN, twelve or config.unknown), (SILENCE, twelve or config.silence)]
        return cls(words + tuple(label for label, wanted in extra if wanted))

    @property
    def words(self) -> tuple[str, ...]:
        """The labels without ``_unknown_`` and ``_silence_``."""
        return tuple(label for label in self.labels if label not in (UNKNOWN, SILENCE))

    def index(self, word: str) -> int | None:
        """The class of a word: its own, else ``_unknown_`` where that is a label, else None.

        Silence is not a word: it has its own class or none.
        """
        own = self._indices.get(unicodedata.normalize("NFC", word))
        return own if own is not None or word == SILENCE else self._indices.get(UNKNOWN)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}


def _checked(word: object) -> str:
    if not isinstance(word, str) or not word.strip() or "/" in word or not word.isprintable():
        raise ValueError(
            f"data.words: expected words of printable characters without a slash, got {word!r}; rename its folder"
        )
    normal = word_of(word)
    if normal in _RESERVED:
        key = {UNKNOWN: "unknown", SILENCE: "silence"}.get(normal)
        remedy = f"set data.{key} = true instead" if key else "its recordings are noise"
        raise ValueError(f'data.words: "{word}" is not a word; {remedy}')
    return normal
