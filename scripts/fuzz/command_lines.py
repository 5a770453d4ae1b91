"""Fuzzing of command lines: options of every command with good, bad and hostile values, run in this process."""

import contextlib
import io
import os
import random
import sys
from pathlib import Path

import torch
from target import Wrong

from wavedil.cli import COMMANDS, main
from wavedil.config import ModelConfig
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, save_model
from wavedil.training.config import config_keys

ALLOWED = ()
OPTIONS = {
    "train": ["--config", "--resume", "--seeds", *(f"--{key}" for key in config_keys())],
    "evaluate": [
        *("--data", "--split", "--json", "--plot", "--worst", "--streaming", "--chunk", "--batch-size", "--device"),
        "--on-corrupt",
    ],
    "predict": ["--top", "--json", "--device"],
    "models": ["--classes", "--json"],
    "corpus": ["--speakers", "--takes", "--seed", "--words"],
    "rf": [
        *("--json", "--sample-rate", "--bytes", "--output", "--layers", "--kernel", "--dilations", "--strides"),
        *("--lookahead", "--padding", "--cycles", "--channels", "--groups", "--no-bias", "--block", "--bins"),
        *("--framing", "--layer", "--ms", "--samples", "--max-params", "--max-state", "--max-macs", "--dense"),
        *("--pick", "--tree", "--taps", "--field", "--plot", "--audio"),
    ],
}
FLAGS = {"--resume", "--streaming", "--layers", "--no-bias", "--dense", "--tree", "--taps", "--field"}
VALUES = [
    *("0", "1", "2", "3", "-1", "-1e-3", "1e-3", "1e308", "nan", "inf", "9" * 30, "9" * 400, "9" * 5000, "1,2,4", "x"),
    *(
        "",
        " ",
        "-",
        "--",
        "-x",
        "none",
        "true",
        "[1]",
        '["yes", "no"]',
        "[",
        "ä",
        "\udce9",
        "\U0001f600",
        "a\nb",
        "3x3",
    ),
    *(
        "model",
        "words",
        "words/yes",
        "a.wav",
        "nowhere",
        "nowhere/x",
        "good.toml",
        "bad.toml",
        "/dev/null",
        "~",
        "$HOME",
    ),
    *("out.json", "out.png", "design", "cpu", "gpu", "testing", "raise", "conv:kernel=3", "480:160", "causal", "16000"),
    *("link", "pipe", "../" * 50, "x" * 300, "1,2,4,...,512", "9999999999", "conv:kernel=9999999999", "auto", "mel"),
]


def prepare(folder: Path) -> None:
    """Make a model, words, configs and odd files, and go where they lie."""
    os.chdir(folder)
    os.environ["WAVEDIL_CACHE"] = str(folder / "cache")
    sys.modules["espeakng_loader"] = None  # pyright: ignore[reportArgumentType]  # no corpus is spoken
    torch.set_num_threads(1)
    config = ModelConfig(channels=4, skip_channels=4, cycles=1, depth=1)
    meta = ModelMeta(labels=("yes", "no"), sample_rate=8000, clip_samples=800, model=config)
    save_model("model", build_model(config, 2, 8000), meta)
    for word in ("yes", "no"):
        Path("words", word).mkdir(parents=True)
    Path("a.wav").write_bytes(b"RIFF")
    Path("good.toml").write_text('run_dir = "run"\n[data]\nsource = "folder"\nroot = "nowhere"\n', "utf-8")
    Path("bad.toml").write_text("[train]\nepoch = 3\n", "utf-8")
    Path("link").symlink_to("good.toml")
    os.mkfifo("pipe")


def attempt(rng: random.Random) -> str:
    """Run a command line; the status is 0, 1 or 2, and an error is one line."""
    arguments = _arguments(rng)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as done:  # --help and --version
            status = done.code
    errors = [line for line in err.getvalue().splitlines() if line.startswith("wavedil: error: ")]
    if status not in (0, 1, 2) or (status == 2 and (len(errors) != 1 or "Traceback" in err.getvalue())):
        raise Wrong(f"status {status} of {arguments!r:.300}: {err.getvalue()[-300:]}")
    return f"status {status}"


def _arguments(rng: random.Random) -> list[str]:
    command = rng.choice([*COMMANDS] * 20 + ["", "trian", "--version", "--help"])
    arguments = [command] if command else []
    if command in ("evaluate", "predict") and rng.random() < 0.8:
        arguments.append("model")
    if command == "train":  # never trains: its data are not there
        arguments += ["--config", "good.toml"]
    if command == "rf" and rng.random() < 0.5:
        arguments += ["--kernel", "3"]
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5])):
        arguments += _option(rng, rng.choice(OPTIONS.get(command, ["--x"])))
    return arguments


def _option(rng: random.Random, option: str) -> list[str]:
    value = rng.choice(VALUES)
    if option in ("--data.root", "--data.source"):
        value = "nowhere"
    if rng.random() < 0.1:
        return [value]
    if rng.random() < 0.05:
        cut = rng.randrange(len(option))
        option = option[:cut] + option[cut + 1 :]
    if option in FLAGS and rng.random() < 0.95:
        return [option]
    return [f"{option}={value}"] if rng.random() < 0.5 else [option, value]
