"""TOML as people and their editors write it: read, or refused in one line with file, line and remedy."""

import os
from pathlib import Path

import pytest

from wavedil.training.config import load_config

TEXT = '# für\nrun_dir = "r"\n[data]\nroot = "wörter"\n[train]\nepochs = 7\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_editors_save_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(TEXT.replace("\n", end).encode(encoding))
    config = load_config(path)
    assert (config.data.root, config.train.epochs) == ("wörter", 7)


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=r"c\.toml: ") as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300
    return message


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        (r'root = "C:\Users\me\words"', "in double quotes a backslash begins an escape: use single quotes, or /"),
        (r'root = "D:\words"', "a backslash begins an escape"),
        (r'root = "D:\temp"', "a backslash begins an escape"),  # TOML, with a tab in it
        (r'root = "C:\"', "a backslash begins an escape"),
        ("download = True", "true or false, in small letters"),
        ("root = None", "leave the key out"),
        ("source = folder", "text stands in quotes"),
        ("root = ~/words", "text stands in quotes"),
        ("words = [yes, no]", "text stands in quotes"),
        ("source = “folder”", "straight quotes"),
        ("speakers: 3", "key = value, not key: value"),
        ("speakers 3", "expected '='"),
        ("speakers = ", "a value is missing"),
        ("speakers = 3 // three", "a comment begins with #"),
        ("unknown_share = .5", "on both sides of the decimal point"),
        ("unknown_share = 0,5", "a point for a decimal comma"),
        ("speakers = 007", "without zeros before it"),
        ("unknown_share = 1e-3,", "remove the comma at the end"),
        ("unknown_share = \u22121", "the minus of the keyboard"),
        ("\u200bspeakers = 3", "a character that cannot be seen"),
        ("words = 35", "write it in quotes"),
        ("words = 'yes,no'", 'write a list as ["yes", "no"]'),
        ("words = ['caf\u00e9', 'cafe\u0301']", "expected different words"),
        ("root = '%USERPROFILE%/words'", "write the path, or ~"),
        ('root = "words', "a quote is missing"),
        ("speakers = 3\nspeakers = 4", "is there twice"),
        ("x = 1\nx.y = 2", "is there twice"),
        ("[data]", "is there twice"),
        ("speakers = " + "9" * 400, "expected an integer from 3 to 10000, got an integer of about 400 digits"),
        ("speakers = " + "9" * 5000, "more than 1,000 digits"),
        ("speakers = 2024-01-01", "expected an integer, got 2024-01-01"),
        ('speakers = "3"', "expected an integer, got '3'; write it without quotes"),
        ('unknown_share = "1e-3"', "write it without quotes"),
        ('unknown = "true"', "write it without quotes"),
        ('source = "foldr"', "did you mean 'folder'?"),
        ("unknown_share = inf", "expected a number, got inf"),
        ("sample-rate = 8000", "did you mean 'data.sample_rate'?"),
        ("batch_size = 3", "did you mean 'train.batch_size'?"),
        ("root = '$HOME/words'", "write the path, or ~"),
        ("root = ''", "expected a path"),
        (r'speaker = "a\u0000(b)"', "NUL"),
        (r'root = "a\u0000b"', "NUL"),
    ],
)
def test_a_line_is_named_with_the_remedy(tmp_path: Path, line: str, remedy: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[data]\n{line}\n", "utf-8")
    message = refused(path)
    assert remedy in message
    assert f"line {3 if chr(10) in line else 2}: " in message or "1,000 digits" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = {" * 30_000, "nested too deeply"),
        (b"a." * 100_000 + b"a = 1", "more than 50 parts"),
        (b"a = {" + b"a." * 100_000 + b"a = 1}", "more than 50 parts"),
        (b"[" + b'"a".' * 40_000 + b"a]", "more than 50 parts"),
        (b"# caf\xe9\n", "not text in UTF-8 (line 1, byte 0xe9)"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not text"),
        (b"#" * 300_000, "at most 262,144 bytes"),
    ],
)
def test_what_is_no_config_is_refused_at_once(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    assert said in refused(path)


def test_a_folder_a_pipe_and_a_device_are_no_configs(tmp_path: Path) -> None:
    (tmp_path / "folder" / "c.toml").mkdir(parents=True)
    os.mkfifo(tmp_path / "c.toml")
    assert "found a folder" in refused(tmp_path / "folder" / "c.toml")
    assert "found a pipe" in refused(tmp_path / "c.toml")
    with pytest.raises(ValueError, match="/dev/zero: expected a file, found a device"):
        load_config("/dev/zero")


def test_an_empty_config_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.toml").touch()
    assert load_config(tmp_path / "c.toml") == load_config(None)


def test_the_home_folder_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.toml").write_text('run_dir = "~/runs"\n[data]\nroot = "~/words"\ncache_dir = "~nobody-here/x"\n')
    config = load_config("~/c.toml", ["--data.test_root=~/test", "--train.teacher", "~"])
    assert (config.run_dir, config.data.root) == (f"{tmp_path}/runs", f"{tmp_path}/words")
    assert (config.data.test_root, config.train.teacher) == (f"{tmp_path}/test", str(tmp_path))
    assert config.data.cache_dir == "~nobody-here/x"
