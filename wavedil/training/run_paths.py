"""Where a run and its data are: absolute in a run's config, so that they are found from any folder."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from wavedil.config import Config
from wavedil.files import in_home
from wavedil.training.config import load_config, to_toml

PATH_KEYS = ("data.root", "data.test_root", "data.cache_dir", "train.teacher")
_MOVING_KEYS = (*PATH_KEYS, "data.speaker")  # which may be a table, or a pattern


def with_absolute_paths(config: Config) -> Config:
    """The same config with absolute paths, ``~`` expanded."""
    found = {key: value_of(config, key) for key in PATH_KEYS}
    absolute = {key: str(absolute_path(path)) for key, path in found.items() if path is not None}
    return replace(_with_values(config, absolute), run_dir=str(absolute_path(config.run_dir)))


def absolute_path(path: str | Path) -> Path:
    """A path that means the same from any folder."""
    return in_home(path).absolute()


def with_paths_of(config: Config, other: Config) -> Config:
    """A config with the paths of another one."""
    return replace(_with_values(config, {key: value_of(other, key) for key in _MOVING_KEYS}), run_dir=other.run_dir)


def value_of(config: object, key: str) -> Any:
    """The value of a dotted key."""
    for name in key.split("."):
        config = getattr(config, name)
    return config


def is_written_by_run(path: Path) -> bool:
    """Whether a config is as a run writes it, and so not written by hand."""
    try:
        return path.read_text("utf-8") == to_toml(load_config(path))
    except (OSError, ValueError):
        return False


def at_its_place(config: Config, run_dir: Path, file: Path) -> Config:
    """The config of a run with the folder in which it lies now, which is said if it is another than before.

    Args:
        config: of the run.
        run_dir: where it lies.
        file: that it was read from.
    """
    if absolute_path(config.run_dir).resolve() != run_dir.resolve():
        print(f"note: the run has moved from {config.run_dir}; it goes on where {file} lies", file=sys.stderr)
    return replace(config, run_dir=str(run_dir))


def resume_command(file: Path, *options: str) -> str:
    """The command that continues a run, from any folder.

    Args:
        file: its config.
        options: more of the command.
    """
    return shlex.join(["wavedil", "train", "--config", str(absolute_path(file)), *options, "--resume"])


def run_config(checkpoint: Path) -> Path | None:
    """The config.toml of the run folder that a checkpoint is, or is in: as ``model`` or as ``checkpoints/step-...``."""
    checkpoint = checkpoint.resolve()
    folders = [checkpoint]
    if checkpoint.name == "model":
        folders.append(checkpoint.parent)
    if checkpoint.parent.name == "checkpoints":
        folders.append(checkpoint.parent.parent)
    return next((folder / "config.toml" for folder in folders if (folder / "config.toml").is_file()), None)


def require_run_config(checkpoint: Path) -> Path:
    """The same, where the data of the training are wanted.

    Raises:
        ValueError: if the checkpoint is in no run folder.
    """
    path = run_config(checkpoint)
    if path is None:
        raise ValueError(f"{checkpoint}: the data it was trained on are not recorded here; name a folder with --data")
    return path


@contextmanager
def paths_explained(config: Config, file: Path, option: str | None = None) -> Iterator[None]:
    """Say of a path that is not there which config names it, and by which option another is named.

    Args:
        config: whose paths are used in the block.
        file: that it was read from.
        option: default: that of the key.
    """
    try:
        yield
    except OSError as error:
        key = next((key for key in _MOVING_KEYS if _is_missing(value_of(config, key), error)), None)
        if key is None:
            raise
        said = f"{error.filename}: {error.strerror}" if error.strerror and error.filename else str(error)
        no_option = option is not None and key == "data.speaker"  # what the option names has its own speakers
        remedy = "correct it there" if no_option else f"name another with {option or f'--{key}'}"
        raise type(error)(f"{said}; this path is {key} of {file}: if it has moved, {remedy}") from None


def _is_missing(path: str | None, error: OSError) -> bool:
    told = f"{error} {error.filename}"
    return path is not None and path in told and not Path(path).exists()


def _with_values(config: Config, values: dict[str, Any]) -> Config:
    for key, value in values.items():
        section, _, name = key.partition(".")
        config = replace(config, **{section: replace(getattr(config, section), **{name: value})})
    return config
