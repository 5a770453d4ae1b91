"""The command line as a whole: it answers at once, and errors are one line."""

import io
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import wavedil
from wavedil import cli


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_answers_without_importing_torch(argument):
    heavy = "{'torch', 'torchaudio', 'numpy', 'soundfile', 'matplotlib'}"
    code = f"""
import sys
from wavedil.cli import main
try:
    main([{argument!r}])
except SystemExit as done:
    assert done.code == 0, done.code
print('loaded:', sorted({heavy} & set(sys.modules)))
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded: []"
    assert wavedil.__version__ in result.stdout or "predict" in result.stdout


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_help_of_a_subcommand_does_not_import_torch(command):
    code = f"""
import sys
from wavedil.cli import main
try:
    main([{command!r}, '--help'])
except SystemExit:
    pass
print('torch' in sys.modules)
"""
    assert run_python(code).stdout.splitlines()[-1] == "False"


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed and summary in printed for name, summary in cli.COMMANDS.items())


def test_alone_it_lists_the_commands(capsys):
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cli.COMMANDS)


MISTAKES = {
    "trian": "command: expected one of train, evaluate, predict, models, rf, corpus; got 'trian'; did you mean",
    "--json": "'--json': expected a command: train, evaluate, predict, models, rf, corpus",
    "train --train.epoch 3": "--train.epoch: no such option; did you mean '--train.epochs'?",
    "train --epochs 3": "--epochs: no such option; did you mean '--train.epochs'?",
    "train --lr 3": "--lr: no such option; did you mean '--train.lr'?",
    "train --train.batch-size 3": "--train.batch-size: no such option; did you mean '--train.batch_size'?",
    "train --train.epochs": "--train.epochs: expected a value, got nothing",
    "train --run_dir --resume": "--run_dir: expected a value, got the option --resume",
    "train --resume=yes": "--resume: expected no value, got 'yes'",
    "train --run_dir=--": "--run_dir: expected a value, got '--'",
    "train --run_dir --seed=3": "--run_dir: expected a value, got the option --seed",
    "train mel.toml": "'mel.toml': expected no such argument; a config is given by --config",
    "train --seeds 0": "--seeds: expected an integer from 1 to 1000, got '0'",
    "train --seeds x": "--seeds: expected an integer from 1 to 1000, got 'x'",
    "evaluate": "the following arguments are required: checkpoint",
    "evaluate --wrost 3 run": "--wrost: no such option; did you mean '--worst'?",
    "evaluate --wor 3 run": "--wor: no such option; did you mean '--worst'?",
    "evaluate run --worst -1": "--worst: expected an integer from 0 to 1000000000, got '-1'",
    "evaluate run --worst -1e3": "--worst: expected an integer from 0 to 1000000000, got '-1e3'",
    f"evaluate run --worst {'9' * 5000}": f"--worst: expected an integer from 0 to 1000000000, got '{'9' * 76}...",
    "evaluate run --split tset": "--split: expected one of testing, validation, training, all; got 'tset'",
    "models --classes 1e3": "--classes: expected an integer from 1 to 10000, got '1e3'",
    "rf --cycles x": "--cycles: expected an integer, got 'x'",
    "rf --kernel": "--kernel: expected a value, got nothing",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line_with_the_remedy(arguments, capsys):
    assert cli.main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"wavedil: error: {MISTAKES[arguments]}")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("--help\n")


def test_a_value_may_begin_with_a_dash(capsys):
    assert cli.main(["train", "--train.lr", "-1e-3"]) == 2
    assert capsys.readouterr().err == (
        "wavedil: error: command line: --train.lr: expected a number above 0 and at most 1000, got -0.001\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_console_can_show_any_name(encoding):
    code = r"""
import sys
from wavedil import cli
sys.exit(cli.main(['train', '--config', 'f\u00fcr \u4e16 \udce9 \U0001f600.toml']))
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith(b"wavedil: error: f")
    assert done.stderr.endswith(b".toml: there is no such config file\n")


def command_that(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: int = 0) -> None:
    """Put a stand-in for ``wavedil predict`` in place."""

    def run(args: object) -> int:
        if error is not None:
            raise error
        return status

    module = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "wavedil.cli.predict", module)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("x.toml: unknown key"), "wavedil: error: x.toml: unknown key\n"),
        (FileNotFoundError("no checkpoint in runs/x"), "wavedil: error: no checkpoint in runs/x\n"),
        (PermissionError(13, "Permission denied", "a.wav"), "wavedil: error: a.wav: permission denied\n"),
        (RuntimeError(), "wavedil: error: RuntimeError\n"),
    ],
)
def test_an_error_is_one_line_and_status_2(error, line, monkeypatch, capsys):
    monkeypatch.delenv("WAVEDIL_TRACEBACK", raising=False)
    command_that(monkeypatch, error)
    assert cli.main(["predict"]) == 2
    assert capsys.readouterr().err == line


def test_traceback_on_request(monkeypatch):
    command_that(monkeypatch, ValueError("seen"))
    monkeypatch.setenv("WAVEDIL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="seen"):
        cli.main(["predict"])


def test_errors_of_programming_are_not_hidden(monkeypatch):
    command_that(monkeypatch, TypeError("a bug"))
    with pytest.raises(TypeError):
        cli.main(["predict"])


def test_status_is_that_of_the_command(monkeypatch):
    command_that(monkeypatch, None, status=1)
    assert cli.main(["predict"]) == 1
    command_that(monkeypatch, KeyboardInterrupt())
    assert cli.main(["predict"]) == 130


def test_a_closed_pipe_is_no_error():
    code = """
import sys, types
from wavedil import cli
def run(args):
    for _ in range(100000):
        print('a line that nobody reads')
sys.modules['wavedil.cli.predict'] = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)
sys.exit(cli.main(['predict']))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "wavedil", "rf", "--kernel", "2"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("receptive field  2 samples")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a device that is always full")
def test_a_full_disk_under_the_printed_answer_is_one_line(monkeypatch, capsys):
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full, write_through=True))
        assert cli.main(["rf", "--kernel", "3"]) == 2
    assert capsys.readouterr().err == "wavedil: error: printed output: no space left on device\n"
