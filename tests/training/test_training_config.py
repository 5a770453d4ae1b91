import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import examples

from wavedil.config import Config, DataConfig, FeatureConfig, ModelConfig, TrainConfig
from wavedil.training.config import config_keys, config_meanings, from_dict, load_config, save_toml, to_dict, to_toml
from wavedil.training.ranges import RANGES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PATH = TEXT.filter(lambda text: text.strip() and text.isprintable() and text[0] not in "~$")
CONFIGS = st.builds(
    Config,
    run_dir=PATH,
    seed=st.integers(0, 2**63 - 1),
    data=st.builds(
        DataConfig,
        root=PATH | st.none(),
        words=st.sampled_from(["35", "12"])
        | st.lists(TEXT.filter(lambda text: text and "\0" not in text), min_size=1, max_size=5, unique=True),
        silence=st.booleans(),
        unknown_share=st.floats(0, 1, exclude_max=True),
    ),
    model=st.builds(
        ModelConfig,
        name=st.sampled_from(["mel", "raw", "broadcast"]),
        stem_strides=st.lists(st.integers(1, 8), min_size=4, max_size=4),
        features=st.builds(FeatureConfig, f_max=st.none() | st.floats(4e3, 8e3)),
    ),
    train=st.builds(TrainConfig, lr=st.floats(1e-30, 1e3), epochs=st.integers(1, 10**6)),
)


@settings(max_examples=examples(40))
@given(config=CONFIGS)
def test_a_config_survives_toml(config: Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "config.toml"
    save_toml(config, path)
    assert load_config(path) == config


@settings(max_examples=examples(40))
@given(config=CONFIGS)
def test_every_key_can_be_given_as_an_override(config: Config) -> None:
    overrides = []
    for key in config_keys():
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        is_text = isinstance(value, str)
        # Text that reads "none" means None where the key may be None; in a file it is itself.
        if is_text and value.lower() in ("none", "null"):
            return
        written = value if is_text else to_toml_value(value)
        overrides += [f"--{key}={written}"]
    assert load_config(None, overrides) == config


def to_toml_value(value: Any) -> str:
    if value is None:
        return "none"
    line = to_toml(dataclasses.make_dataclass("One", ["value"])(value))
    return line.removeprefix("value = ").strip()


def test_a_key_and_its_value_may_be_two_arguments() -> None:
    config = load_config(None, ["--train.epochs", "3", "--data.words", '["yes", "no"]', "--data.root", "none"])
    assert (config.train.epochs, config.data.words, config.data.root) == (3, ["yes", "no"], None)


def test_overrides_replace_the_keys_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("seed = 5\n[train]\nepochs = 7\nlr = 1\n")
    config = load_config(path, ["--train.epochs=9"])
    assert (config.seed, config.train.epochs, config.train.lr) == (5, 9, 1.0)
    assert isinstance(config.train.lr, float)
    assert config.model == ModelConfig()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[train]\nepoch = 3", ["line 2: key 'train.epoch': no such key", "did you mean 'train.epochs'?"]),
        ("[Train]\nepochs = 3", ["line 1: key 'Train': no such key", "did you mean 'train'?"]),
        ("epochs = 3", ["key 'epochs': no such key", "did you mean 'train.epochs'"]),
        ("[model.feature]\nn_mels = 3", ["line 1: key 'model.feature': no such key"]),
        ('[train]\nepochs = "3"', ["'train.epochs'", "an integer", "'3'"]),
        ("[train]\nepochs = 3.5", ["'train.epochs'", "an integer", "3.5"]),
        ("[train]\nepochs = true", ["'train.epochs'", "an integer", "true"]),
        ("[train]\nlr = nan", ["'train.lr'", "a number", "nan"]),
        ("train = 3", ["'train'", "table", "3"]),
        ('[model]\nname = "cnn"', ["'model.name'", '"mel" or "raw" or "broadcast"', "'cnn'"]),
        ('[model]\nstem_strides = [4, "x"]', ["'model.stem_strides'", "a list", "'x'"]),
        ("[model.features]\nf_max = true", ["'model.features.f_max'", "a number or none", "true"]),
        ("[train]\nepochs = 0", ["'train.epochs'", "an integer from 1 to 1000000", "0"]),
        ("[model]\ndropout = 1.0", ["'model.dropout'", "below 1", "1.0"]),
        ('[data]\nwords = "yes"', ["'data.words'", '"35" or "12" or a list', "'yes'"]),
        ('[data]\nwords = ["a", "a"]', ["'data.words'", "different"]),
        ("[data]\nwords = []", ["'data.words'", "1 to 10,000 words"]),
        ("seed = ", ["line 1", "not valid TOML", "a value is missing behind ="]),
    ],
)
def test_a_mistake_in_a_file_is_told_in_a_line_that_names_file_and_key(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="bad") as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["--train.epoch", "3"], ["--train.epoch: no such key", "did you mean '--train.epochs'?"]),
        (["--train.epochs", "x"], ["--train.epochs", "an integer", "'x'"]),
        (["--train.epochs"], ["--train.epochs", "an integer", "nothing"]),
        (["stray"], ["--key value", "'stray'"]),
        (["--model.dropout", "-1"], ["--model.dropout", "at least 0", "-1"]),
        (["--data.words", "[yes]"], ["--data.words", "a list", "'[yes]'", """write a list as '["yes", "no"]'"""]),
        (["--train.epochs", "3\nseed = 4"], ["--train.epochs", "an integer", r"'3\nseed = 4'"]),
        (["--train.lr", ".001"], ["--train.lr", "a number", "on both sides of the decimal point"]),
        (["--train.lr=0,001"], ["--train.lr", "a number", "a point for a decimal comma"]),
        (["--data.download", "True"], ["--data.download", "true or false, in small letters"]),
        (["--train.device", "gpu"], ["--train.device", "did you mean 'cuda'?"]),
        (["--train.device", "CUDA:0"], ["--train.device", "did you mean 'cuda'?"]),
        (["--model.stem_strides", "4"], ["a list", "write a list as '[4, 5]'"]),
    ],
)
def test_a_mistake_on_the_command_line_names_the_option(overrides: list[str], parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^command line: ") as caught:
        load_config(None, overrides)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.toml: there is no such config file"):
        load_config(tmp_path / "absent.toml")


KEYS = to_dict(Config()).keys()


@given(data=st.dictionaries(TEXT.filter(lambda key: key not in KEYS), st.integers() | TEXT, min_size=1, max_size=3))
def test_a_key_that_is_none_of_the_config_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^here: key .*: no such key"):
        from_dict(data, origin="here")


def test_every_key_has_a_meaning_and_every_range_a_key() -> None:
    assert config_meanings().keys() == config_keys().keys()
    assert all(config_meanings().values())
    assert RANGES.keys() <= config_keys().keys()
    from_dict({}, origin="the defaults are in range")
