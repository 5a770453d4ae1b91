"""Words, and the classes that a model tells apart."""

from dataclasses import dataclass
from functools import cached_property

from wavedil.config import DataConfig

UNKNOWN = "_unknown_"
SILENCE = "_silence_"
BACKGROUND = "_background_noise_"

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


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model in the order of its logits: the words, then ``_unknown_``, then ``_silence_``.

    Args:
        labels: all different.

    Raises:
        ValueError: if there are none, or one is there twice.
    """

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise ValueError(f"labels must differ; given more than once: {', '.join(twice)}")
        if not self.words:
            raise ValueError(f"expected at least one word among the labels, got {list(self.labels)}")

    @classmethod
    def from_config(cls, config: DataConfig) -> "LabelSet":
        """The labels that ``words``, ``unknown`` and ``silence`` of the config ask for; "12" has both of the latter."""
        twelve = config.words == "12"
        if isinstance(config.words, str):
            named = {"35": WORDS_35, "12": WORDS_10}
            if config.words not in named:
                raise ValueError(f'words: expected "35", "12" or a list of words, got "{config.words}"')
            words = named[config.words]
        else:
            words = tuple(config.words)
        for special, key in ((UNKNOWN, "unknown"), (SILENCE, "silence")):
            if special in words:
                raise ValueError(f'words: "{special}" is not a word; set {key} = true instead')
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
        own = self._indices.get(word)
        return own if own is not None or word == SILENCE else self._indices.get(UNKNOWN)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}
