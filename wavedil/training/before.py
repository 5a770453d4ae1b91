"""What is wrong with a run that can be told before torch is imported: its folder, its data, its teacher."""

import errno
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from wavedil.checks import bounded_integer
from wavedil.config import Config, DataConfig
from wavedil.data.sources import require_folder, require_source
from wavedil.files import in_home
from wavedil.training.description import model_folder
from wavedil.training.run_folder import RunFolder
from wavedil.training.run_paths import paths_explained

MOST_SEEDS = 1000


def check_run(config: Config, resume: bool) -> None:
    """Refuse a run that cannot begin.

    Several processes find out together, so that each ends and says why: nothing is checked here.

    Raises:
        FileNotFoundError: if its data or its teacher are not there.
        OSError: if its folder cannot be written.
        ValueError: if its folder holds another run, or one that is not to be resumed.
    """
    if _is_one_of_several():
        return
    run = RunFolder(config.run_dir)
    _require_writable(run.path)
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # which starts processes anew that then resume unasked
        run.check_free(config, resume)
    with paths_explained(config, run.config) if run.is_begun else nullcontext():
        _check_data(config.data)
        if config.train.teacher is not None:
            model_folder(in_home(config.train.teacher))


def check_seeds(config: Config, count: int, resume: bool) -> None:
    """Refuse runs of several seeds that cannot begin.

    Raises:
        OSError: as :func:`check_run`.
        ValueError: if the count is out of range, torchrun started several processes, or the folder holds another run.
    """
    bounded_integer("--seeds", count, 1, MOST_SEEDS)
    bounded_integer("seed + --seeds", config.seed + count, 0, 2**63 - 1)
    if _is_one_of_several():
        raise ValueError("--seeds: expected one process, got torchrun; start a run for each --seed")
    together = RunFolder(config.run_dir)
    if together.is_begun:
        raise ValueError(f"{together.path} holds a run of one seed: choose another --run_dir for several")
    for seed in range(config.seed, config.seed + count):
        check_run(replace(config, seed=seed, run_dir=str(together.path / f"seed{seed}")), resume)


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _require_writable(path: Path) -> None:
    """Refuse a folder that cannot be made or written to."""
    found = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not found.is_dir():
        raise ValueError(f"{found}: expected a folder for the run, found a file; choose another --run_dir")
    if not os.access(found, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "permission denied; choose another --run_dir", str(found))


def _check_data(data: DataConfig) -> None:
    if data.test_root is not None:
        require_folder(data.test_root)
    require_source(data)
