"""Settings and fixtures of all tests."""

import gc
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from wavedil.config import ModelConfig
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, save_model

# Tests are not timed: a first call may import, compile or wait for a busy machine.
settings.register_profile("full", deadline=None)
settings.register_profile("each time", deadline=None, max_examples=25)

# What `make fast` runs: the files whose tests take little time, without those that have a word of SLOW in their names.
TESTS = Path(__file__).parent
FAST = {
    TESTS / name
    for name in (
        *("test_architecture.py", "test_checks.py", "test_files.py", "test_functional.py", "test_package.py"),
        *("test_streaming.py", "test_text_files.py", "audio/test_resample.py", "cli/test_main.py", "cli/test_rf.py"),
        *("data/test_clips.py", "data/test_index.py", "data/test_labels.py", "data/test_decode.py"),
        *("data/test_speech_commands.py", "layers/test_contract.py", "layers/test_interleave.py"),
        *("layers/test_parallel.py", "layers/test_sizes.py", "layers/test_values.py", "models/test_keyword.py"),
        *("receptive/test_arithmetic.py", "receptive/test_description.py", "receptive/test_gridding.py"),
        *("receptive/test_stack.py", "receptive/test_taps.py", "receptive/test_text.py", "runtime/test_native.py"),
        *("runtime/test_structures.py", "training/test_checkpoint_store.py", "training/test_metrics.py"),
        *("training/test_optim.py", "training/test_run_folder.py", "training/test_toml.py"),
        "training/test_training_config.py",
    )
}
SLOW = ("captured", "compiled", "exported", "onnx", "counts_for_all", "chain_of_rates", "test_stack", "brute_force")
for path in FAST:
    path.stat()  # fails if it was renamed


def pytest_configure(config: pytest.Config) -> None:
    """Draw fewer examples where the sweeps are left out; before the test files are imported, which ask for a share."""
    chosen = config.option.markexpr
    settings.load_profile("each time" if "not full" in chosen or "fast" in chosen else "full")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fast ones."""
    for item in items:
        slow = item.get_closest_marker("full") or any(word in item.name for word in SLOW)
        if item.path in FAST and not slow:
            item.add_marker("fast")


def pytest_collection_finish() -> None:
    """Leave what was imported out of the collector's searches, each of which would go through it."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small untrained model at 8 kHz with clips of one second, saved as a run's model."""
    torch.manual_seed(0)
    labels, config = ("yes", "no", "stop"), ModelConfig(channels=8, skip_channels=8, cycles=1)
    folder = tmp_path_factory.mktemp("checkpoint") / "run" / "model"
    folder.parent.mkdir()
    save_model(folder, build_model(config, len(labels), 8_000), ModelMeta(labels, 8_000, 8_000, config))
    return folder
