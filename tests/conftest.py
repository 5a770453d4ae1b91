"""Settings and fixtures of all tests."""

import pytest
import torch
from hypothesis import settings

from wavedil.config import ModelConfig
from wavedil.models import build_model
from wavedil.training.checkpoint import ModelMeta, save_model

# Tests are not timed: a first call may import, compile or wait for a busy machine.
settings.register_profile("wavedil", deadline=None)
settings.load_profile("wavedil")


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
