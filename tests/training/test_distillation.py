"""Distillation: the loss is Hinton's, the teacher stays as it is, and the student comes to agree with it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from tiny import final_state, tiny_config, write_corpus
from torch.nn import functional as F

from wavedil.config import Config, TrainConfig
from wavedil.data.augment import plain
from wavedil.data.clips import load_splits
from wavedil.training.distillation import Teacher, distilled
from wavedil.training.loop import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A config of the tiny corpus and the run of a teacher trained on it."""
    root = tmp_path_factory.mktemp("distillation")
    (root / "corpus").mkdir()
    config = tiny_config(write_corpus(root / "corpus"), root / "teacher", train={"epochs": 2})
    train(config)
    return config, root / "teacher"


def test_the_loss_is_the_published_one():
    rng = np.random.default_rng(0)
    own, opinion = rng.standard_normal((2, 5, 3))
    config = TrainConfig(teacher_weight=0.3, teacher_temperature=4.0)
    p, q = log_softmax(opinion / 4, axis=1), log_softmax(own / 4, axis=1)
    expected = 0.7 * 2.5 + 0.3 * 16 * (np.exp(p) * (p - q)).sum(1).mean()
    loss = distilled(torch.tensor(2.5, dtype=torch.float64), torch.tensor(own), torch.tensor(opinion), config)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_student_of_the_teachers_opinion_has_only_the_labels_to_learn():
    logits = torch.randn(4, 3, requires_grad=True)
    config = TrainConfig(teacher_weight=1.0)
    loss = distilled(torch.tensor(7.0), logits, logits.detach(), config)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros(4, 3), atol=1e-6, rtol=0)
    weightless = distilled(
        torch.tensor(7.0), logits, torch.zeros(4, 3), dataclasses.replace(config, teacher_weight=0.0)
    )
    assert weightless.item() == 7.0


def test_a_student_comes_to_agree_with_its_teacher(taught: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = taught
    teacher = Teacher(str(folder), config.data.words, config.data.sample_rate, CPU)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    options = {"teacher": str(folder), "teacher_weight": 1.0, "epochs": 12, "ema_decay": 0.0}
    waveforms = plain(load_splits(config.data).training.waveforms)
    distances = {}
    for name, changed in {"taught": options, "alone": {**options, "teacher": None}}.items():
        settings = dataclasses.replace(config.train, **changed)
        train(dataclasses.replace(config, seed=5, run_dir=str(tmp_path / name), train=settings))
        student = Teacher(str(tmp_path / name), config.data.words, config.data.sample_rate, CPU)
        own, opinion = (F.log_softmax(model(waveforms), dim=1) for model in (student, teacher))
        distances[name] = F.kl_div(own, opinion, reduction="batchmean", log_target=True).item()
    assert distances["taught"] < 0.5 * distances["alone"], distances
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_teacher_is_no_part_of_what_is_saved(taught: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = taught
    settings = dataclasses.replace(config.train, teacher=str(folder), epochs=1)
    train(dataclasses.replace(config, run_dir=str(tmp_path / "student"), train=settings))
    assert set(final_state(tmp_path / "student")["model"]) == set(final_state(folder)["model"])


def test_a_teacher_of_other_words_or_another_rate_is_refused(taught: tuple[Config, Path]) -> None:
    config, folder = taught
    with pytest.raises(
        ValueError, match=r"train.teacher .*: expected the labels \['yes'\], got \['bed', 'cat', 'dog'\]"
    ):
        Teacher(str(folder), ["yes"], config.data.sample_rate, CPU)
    with pytest.raises(ValueError, match=r"train.teacher .*: expected a sample rate of 16000, got 8000"):
        Teacher(str(folder), config.data.words, 16_000, CPU)
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        Teacher("nowhere", config.data.words, config.data.sample_rate, CPU)
