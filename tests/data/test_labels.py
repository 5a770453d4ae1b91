from dataclasses import replace

import pytest

from wavedil.config import DataConfig
from wavedil.data.labels import SILENCE, UNKNOWN, WORDS_10, WORDS_35, LabelSet


def test_word_sets() -> None:
    assert len(set(WORDS_35)) == 35
    assert len(set(WORDS_10)) == 10
    assert set(WORDS_10) < set(WORDS_35)


def test_35_words_know_no_others() -> None:
    labels = LabelSet.from_config(DataConfig(words="35"))
    assert labels.labels == WORDS_35
    assert [labels.index(word) for word in WORDS_35] == list(range(35))
    assert labels.index("zebra") is None
    assert labels.index(SILENCE) is None


def test_12_classes_are_ten_words_then_unknown_then_silence() -> None:
    labels = LabelSet.from_config(DataConfig(words="12"))
    assert labels.labels == (*WORDS_10, "_unknown_", "_silence_")
    assert len(labels) == 12
    assert labels.index("bed") == labels.index(UNKNOWN) == 10
    assert labels.index(SILENCE) == 11


def test_chosen_words() -> None:
    config = DataConfig(words=["tree", "go"])
    assert LabelSet.from_config(config).labels == ("tree", "go")
    assert LabelSet.from_config(replace(config, unknown=True)).labels == ("tree", "go", UNKNOWN)
    with_silence = LabelSet.from_config(replace(config, silence=True))
    assert with_silence.labels == ("tree", "go", SILENCE)
    assert with_silence.index("bed") is None


def test_silence_is_not_an_unknown_word() -> None:
    assert LabelSet(("go", UNKNOWN)).index(SILENCE) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["go", "go"], "more than once: go"),
        ([], "at least one word"),
        (["go", SILENCE], "silence = true"),
        (["go", UNKNOWN], "unknown = true"),
        ("36", 'got "36"'),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSet.from_config(DataConfig(words=words))
