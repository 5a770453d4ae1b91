"""The folder that a run writes: what lies where in it, how it is begun and how it is found again."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wavedil.config import WORDS_OF_DATA, Config
from wavedil.files import in_home, require_no_other
from wavedil.training.atomic import recover_folder, remove_temporaries, write_folder
from wavedil.training.checkpoint_store import CheckpointStore
from wavedil.training.config import config_keys, load_config, save_toml
from wavedil.training.run_lock import RunLock
from wavedil.training.run_paths import at_its_place, is_written_by_run, value_of, with_absolute_paths, with_paths_of

# Keys that do not change what is computed, but for rounding: a run may be resumed with others.
FREE_KEYS = frozenset(
    {
        "run_dir",
        "data.root",  # whose clips must be the same, which their samples tell
        "data.test_root",
        "data.speaker",
        "data.cache_dir",
        "data.download",
        "train.teacher",  # whose weights must be the same
        "train.device",
        "train.threads",
        "train.checkpoint_minutes",
        "train.log_every",
    }
)


_REMEDY = "a run writes only inside its folder: remove it, or choose another --run_dir"
# Files that are written into a run folder, beside its folders and its lock.
_FILES = ("config.toml", "metrics.csv", "report.json", "nan_batch.txt", "confusion.png", "curves.png")


class RunFolder:
    """Paths of a run: the resolved config, metrics.csv, events, checkpoints, best model, report and lock.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = in_home(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.csv"
        self.events = self.path / "tensorboard"
        self.model = self.path / "model"
        self.report = self.path / "report.json"
        self.nan_batch = self.path / "nan_batch.txt"
        self.lock = self.path / "lock"
        self.checkpoints = CheckpointStore(self.path / "checkpoints")

    @contextmanager
    def begun(self, config: Config, resume: bool, launch: str | None = None, restarted: bool = False) -> Iterator[None]:
        """Context in which the folder is this run's alone, its config written or, where there is one, found the same.

        Args:
            config: of the run; its ``run_dir`` is this folder.
            resume: go on with the run that may be there.
            launch: the torchrun that started this process, if one did.
            restarted: whether it has started its processes anew after a fault; the run that it began is then gone on
                with, but not one that was there before.

        Raises:
            RuntimeError: if another process is writing the folder.
            FileNotFoundError: if a run is there without its config.
            ValueError: if a run is there that is not to be resumed, its config is another (the message names the key),
                it has checkpoints of which none can be read, or there is a link or the like in the place of what a run
                writes.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path}: expected a folder for the run, found a file; choose another --run_dir")
        self.path.mkdir(parents=True, exist_ok=True)
        self._require_own()
        with RunLock(self.lock) as lock:
            ours = launch is not None and lock.former is not None and lock.former.launch == launch
            self._begin(config, resume or (restarted and ours))
            lock.sign(launch)
            yield

    def _begin(self, config: Config, resume: bool) -> None:
        self.check_free(config, resume)
        if not self.is_begun:
            self.write_config(config)
        remove_temporaries(self.path, "|".join(map(re.escape, (*_FILES, self.model.name))))
        self.checkpoints.repair()
        recover_folder(self.model)

    def check_free(self, config: Config, resume: bool) -> None:
        """Refuse a folder with a run that is not to be resumed, or is another; nothing is written.

        Raises:
            ValueError: saying which, and what to do.
        """
        if self.is_begun:
            if not resume:
                raise ValueError(
                    f"{self.path} already holds a run: continue it with --resume, or choose another --run_dir"
                )
            self.check_same(config)
        elif self.seeds():
            raise ValueError(
                f"{self.path} holds runs of several seeds: continue them with --seeds and --resume, "
                "or choose another --run_dir"
            )

    @property
    def is_begun(self) -> bool:
        """Whether there is anything to go on with: a run that failed before its first checkpoint has nothing."""
        made = (self.metrics, self.model, self.report)
        return bool(self.checkpoints.complete()) or any(path.exists() for path in made)

    def seeds(self) -> list[Path]:
        """The run folders of several seeds in this one."""
        return sorted(path.parent for path in self.path.glob("seed*/config.toml"))

    def seed(self, seed: int) -> "RunFolder":
        """The run of a seed among several in this folder.

        Raises:
            ValueError: if there is a link or the like in its place.
        """
        folder = self.path / f"seed{seed}"
        require_no_other(folder, "a folder", _REMEDY)
        return RunFolder(folder)

    def write_config(self, config: Config) -> None:
        """Write the config of a run that has not begun; one written there by hand stays, and must say the same.

        Raises:
            ValueError: if it says something else.
        """
        if not self.config.exists() or is_written_by_run(self.config):
            save_toml(config, self.config)
        else:
            self.check_same(config)

    def update_paths(self, config: Config) -> None:
        """Keep where the run and its data are now, once they are found to be the same."""
        former = load_config(self.config)
        if with_absolute_paths(former) != with_paths_of(former, config):
            save_toml(with_paths_of(former, config), self.config)

    def _require_own(self) -> None:
        """Refuse links and the like in the place of what a run writes, which may lead out of the folder."""
        for name in _FILES:
            require_no_other(self.path / name, "a file", _REMEDY)
        for folder in (self.checkpoints.folder, self.events, self.model):
            require_no_other(folder, "a folder", _REMEDY)

    def write_model(self, files: Mapping[str, bytes]) -> None:
        """Replace the best model."""
        write_folder(self.model, files)

    def check_same(self, config: Config) -> None:
        """Refuse a config that would compute something else than the one that is there.

        Words that one of them leaves to the data are judged with these, by the checkpoint.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: naming the first key that differs.
        """
        former = load_config(self.config)
        for key in config_keys():
            values = [value_of(one, key) for one in (former, config)]
            if key == "data.words" and any(value in WORDS_OF_DATA for value in values):
                continue
            if key not in FREE_KEYS and values[0] != values[1]:
                raise ValueError(
                    f"{self.config}: this run cannot be resumed with another '{key}': "
                    f"expected {values[0]!r}, got {values[1]!r}"
                )


def in_its_folder(config: Config, file: str | Path | None) -> Config:
    """The config of a run with the folder that it lies in, wherever the run was before; any other as it is.

    Args:
        config: as read.
        file: that it was read from.
    """
    if file is None or Path(file).name != "config.toml":
        return config
    run = RunFolder(Path(file).parent)
    is_its_own = run.is_begun or bool(run.seeds()) or run.lock.exists()
    return at_its_place(config, run.path, run.config) if is_its_own else config
