"""Runs that are renamed, moved or copied, whose data move, or that never began."""

import dataclasses
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import assert_same, before_call, final_state, tiny_config, write_corpus

from wavedil.cli import main
from wavedil.config import Config
from wavedil.training.config import load_config, save_toml
from wavedil.training.interrupt import TrainingInterruptedError
from wavedil.training.loop import train
from wavedil.training.run_folder import RunFolder, in_its_folder
from wavedil.training.run_paths import paths_explained, resume_command, with_absolute_paths
from wavedil.training.step import TrainingStep

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # no pictures, which would take most of the time
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def stopped(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of one epoch that was stopped at its second step, trained in a folder of its own by a relative path."""
    config = tiny_config(corpus, Path("run"), train={"epochs": 1})
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", TrainingStep.__call__)  # put back at the end of the block
        before_call(TrainingStep, "__call__", 2, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(TrainingInterruptedError) as caught:
            train(config)
    assert caught.value.command == f"wavedil train --config {tmp_path}/run/config.toml --resume"
    return config


def test_a_moved_run_goes_on_where_it_is_and_a_copy_in_the_copy(
    stopped: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").rename(tmp_path / "elsewhere" / "renamed")
    shutil.copytree(tmp_path / "elsewhere" / "renamed", tmp_path / "elsewhere" / "copy")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--config", "renamed/config.toml", "--resume"]) == 0
    said = capsys.readouterr()
    assert f"note: the run has moved from {tmp_path}/run; it goes on where renamed/config.toml lies" in said.err
    assert "resumed at step 2 of 5" in said.out
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "elsewhere" / "copy" / "report.json").exists()
    assert load_config("renamed/config.toml").run_dir == f"{tmp_path}/elsewhere/renamed"
    assert main(["train", "--config", "copy/config.toml"]) == 2
    assert "copy already holds a run: continue it with --resume" in capsys.readouterr().err
    assert main(["train", "--config", "copy/config.toml", "--resume"]) == 0
    assert_same(final_state(Path("copy")), final_state(Path("renamed")))


def test_data_that_moved_are_named_and_taken_from_their_new_place_if_they_are_the_same(
    corpus: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(corpus, tmp_path / "old")
    config = tiny_config(tmp_path / "old", tmp_path / "run", train={"epochs": 1})
    train(config)
    (tmp_path / "old").rename(tmp_path / "new")
    file = str(tmp_path / "run" / "config.toml")
    command = ["train", "--config", file, "--resume"]
    capsys.readouterr()
    assert main(command) == 2
    assert (
        f"/old: no such folder; expected one of <word>/<recording>; this path is data.root of {file}: if it has "
        in (error := capsys.readouterr().err)
    )
    assert error.endswith("moved, name another with --data.root\n")
    shutil.copytree(corpus, tmp_path / "other")
    (tmp_path / "other" / "dog" / "training3.wav").unlink()
    assert main([*command, "--data.root", str(tmp_path / "other")]) == 2
    assert "not the clips that the run" in capsys.readouterr().err
    assert load_config(file).data.root == f"{tmp_path}/old"
    assert main([*command, "--data.root", str(tmp_path / "new")]) == 0
    assert load_config(file).data.root == f"{tmp_path}/new"
    assert main(command) == 0


def test_words_that_the_data_tell_are_found_again_by_the_same_command(
    corpus: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(corpus, tmp_path / "words")
    config = tiny_config(tmp_path / "words", tmp_path / "run", train={"epochs": 1, "kernels": "off"})
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, words="auto"))
    (tmp_path / "run").mkdir()
    by_hand, elsewhere = tmp_path / "run" / "config.toml", tmp_path / "mine.toml"
    save_toml(config, elsewhere)
    for file in (by_hand, elsewhere):
        shutil.copy(elsewhere, tmp_path / "kept")
        by_hand.unlink(missing_ok=True)
        if file == by_hand:
            by_hand.write_text("# mine\n" + elsewhere.read_text())
        assert main(["train", "--config", str(file)]) == 0, capsys.readouterr().err
        assert main(["train", "--config", str(file), "--resume"]) == 0, capsys.readouterr().err
        assert "resumed at step 5 of 5" in capsys.readouterr().out
        assert by_hand.read_text().startswith("# mine") == (file == by_hand)
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").mkdir()


def test_a_table_of_speakers_that_moved_is_named_and_kept(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tiny_config(corpus, tmp_path / "run", train={"epochs": 1, "kernels": "off"})
    lines = [f"{path.parent.name}/{path.name},{path.stem}" for path in corpus.glob("*/*.wav")]
    (tmp_path / "old.csv").write_text("\n".join(lines))
    train(dataclasses.replace(config, data=dataclasses.replace(config.data, speaker=str(tmp_path / "old.csv"))))
    (tmp_path / "old.csv").rename(tmp_path / "new.csv")
    file = str(tmp_path / "run" / "config.toml")
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert f"this path is data.speaker of {file}: if it has moved, correct it there" in capsys.readouterr().err
    command = ["train", "--config", file, "--resume"]
    assert main(command) == 2
    assert "if it has moved, name another with --data.speaker" in capsys.readouterr().err
    assert main([*command, "--data.speaker", str(tmp_path / "new.csv")]) == 0
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_words_that_come_after_a_run_began_are_noticed(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(corpus, tmp_path / "words")
    config = tiny_config(tmp_path / "words", tmp_path / "run", train={"epochs": 1, "kernels": "off"})
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, words="auto"))
    save_toml(config, tmp_path / "mine.toml")
    command = ["train", "--config", str(tmp_path / "mine.toml")]
    assert main(command) == 0
    word = next(path for path in (tmp_path / "words").iterdir() if path.is_dir())
    shutil.copytree(word, tmp_path / "words" / "another")
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert "cannot be resumed with another 'data.words': expected ['bed', 'cat', 'dog'], got ['another'," in (
        capsys.readouterr().err
    )


def test_an_evaluation_from_another_folder_finds_the_data_or_says_whose_path_it_is(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    shutil.copytree(corpus, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAVEDIL_CACHE", str(tmp_path / "own"))
    config = tiny_config(Path("data"), Path("run"), train={"epochs": 1, "kernels": "off"})
    train(dataclasses.replace(config, data=dataclasses.replace(config.data, cache_dir="theirs", download=True)))
    shutil.rmtree("theirs")
    monkeypatch.chdir("/")
    evaluate = ["evaluate", str(tmp_path / "run"), "--device", "cpu"]
    capsys.readouterr()
    assert main(evaluate) == 0
    assert f"decoded into {tmp_path}/own, not into {tmp_path}/theirs, which " in capsys.readouterr().err
    assert not (tmp_path / "theirs").exists()
    (tmp_path / "data").rename(tmp_path / "moved")
    assert main(evaluate) == 2
    error = capsys.readouterr().err
    assert f"this path is data.root of {tmp_path}/run/config.toml: if it has moved, name another with --data\n" in error
    assert main([*evaluate, "--data", str(tmp_path / "moved")]) == 0


def test_an_evaluation_makes_no_corpus_where_the_config_says(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("WAVEDIL_CACHE", str(tmp_path / "own"))
    train(tiny_config(corpus, tmp_path / "run", train={"epochs": 1, "kernels": "off"}))
    config = load_config(tmp_path / "run" / "config.toml")
    data = dataclasses.replace(config.data, source="synthetic", root=str(tmp_path / "theirs"))
    save_toml(dataclasses.replace(config, data=data), tmp_path / "run" / "config.toml")
    assert main(["evaluate", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "theirs: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "theirs").exists()


def test_a_run_that_never_began_blocks_nothing(corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    options = ["--data.root", str(tmp_path / "misspelt"), "--train.epochs", "1"]
    config = tiny_config(corpus, tmp_path / "run")
    save_toml(config, tmp_path / "mine.toml")
    command = ["train", "--config", str(tmp_path / "mine.toml")]
    assert main([*command, *options]) == 2
    assert "misspelt: no such folder" in capsys.readouterr().err
    assert main([*command, "--train.epochs", "1", "--model.channels", "6"]) == 0
    assert load_config(tmp_path / "run" / "config.toml").model.channels == 6
    capsys.readouterr()
    assert main([*command, "--train.epochs", "1"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_a_config_written_by_hand_into_the_run_folder_is_kept(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    save_toml(config, run.config)
    text = "# my notes\n" + run.config.read_text()
    run.config.write_text(text)
    with run.begun(config, resume=False):
        pass
    assert run.config.read_text() == text
    other = dataclasses.replace(config, seed=5)
    with pytest.raises(ValueError, match=r"config\.toml: .* another 'seed'"), run.begun(other, resume=False):
        pass
    assert run.config.read_text() == text


def test_only_a_config_in_a_run_folder_stands_for_the_run(tmp_path: Path, capsys: Capture) -> None:
    config = Config(run_dir="runs/a")
    for name in ("config.toml", "mine.toml"):
        save_toml(config, tmp_path / name)
        assert in_its_folder(config, tmp_path / name) == config
    assert in_its_folder(config, None) == config
    (tmp_path / "lock").touch()
    assert in_its_folder(config, tmp_path / "mine.toml") == config
    assert not capsys.readouterr().err
    assert in_its_folder(config, tmp_path / "config.toml").run_dir == str(tmp_path)
    assert "note: the run has moved from runs/a" in capsys.readouterr().err


def test_paths_are_kept_absolute_and_commands_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config = tiny_config(Path("data"), Path("run"), train={"teacher": "~/teacher"})
    config = with_absolute_paths(dataclasses.replace(config, data=dataclasses.replace(config.data, cache_dir=None)))
    assert (config.data.root, config.run_dir) == (f"{tmp_path}/data", f"{tmp_path}/run")
    assert (config.train.teacher, config.data.cache_dir) == ("/home/me/teacher", None)
    command = resume_command(Path("my run/config.toml"), "--seeds", "2")
    assert command == f"wavedil train --config '{tmp_path}/my run/config.toml' --seeds 2 --resume"


def test_an_error_that_is_not_about_a_path_of_the_config_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, tmp_path / "run")
    for error in (FileNotFoundError(f"{corpus}/dog/1.wav: gone"), PermissionError("no"), ValueError(str(corpus))):
        with pytest.raises(type(error)) as caught, paths_explained(config, tmp_path / "config.toml"):
            raise error
        assert caught.value is error
