"""Metrics against hand-computed numbers and independent formulas."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavedil.training.metrics import Evaluation, wilson_interval


def evaluation(predictions, targets, labels=("yes", "no", "up"), margin=2.0) -> Evaluation:
    logits = np.zeros((len(targets), len(labels)), dtype=np.float32)
    logits[np.arange(len(targets)), predictions] = margin
    names = [f"clip{index}.wav" for index in range(len(targets))]
    return Evaluation(logits, np.asarray(targets), tuple(labels), names)


@st.composite
def evaluations(draw) -> Evaluation:
    n_classes, n = draw(st.integers(1, 5)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(scale=draw(st.floats(0.1, 50)), size=(n, n_classes)).astype(np.float32)
    labels = tuple(f"word{index}" for index in range(n_classes))
    return Evaluation(logits, rng.integers(0, n_classes, n), labels, [f"{index}.wav" for index in range(n)])


def test_wilson_interval_of_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29, without continuity.
    table = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (correct, n), expected in table.items():
        assert wilson_interval(correct, n) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 20_000), st.floats(0, 1))
def test_wilson_bounds_solve_the_score_equation(n, share):
    correct = round(share * n)
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1

    # (share - p)^2 = z^2 p (1 - p) / n, as a polynomial in p.
    z2 = 1.959963984540054**2
    roots = np.roots([1 + z2 / n, -(2 * correct / n + z2 / n), (correct / n) ** 2])
    np.testing.assert_allclose([low, high], sorted(roots.real), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(correct, n):
    with pytest.raises(ValueError, match=f"correct = {correct}, n = {n}"):
        wilson_interval(correct, n)


def test_by_hand():
    # yes: 2 of 3 recognised, one taken for no; no: 1 of 1; up: never spoken, once predicted for no.
    result = evaluation(predictions=[0, 0, 1, 1, 2], targets=[0, 0, 0, 1, 1])
    assert result.n == 5
    assert result.correct == 3
    assert result.accuracy == pytest.approx(0.6)
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert vars(result.per_word["yes"]) == {"n": 3, "predicted": 2, "precision": 1.0, "recall": pytest.approx(2 / 3)}
    assert vars(result.per_word["no"]) == {"n": 2, "predicted": 2, "precision": 0.5, "recall": 0.5}
    assert vars(result.per_word["up"]) == {"n": 0, "predicted": 1, "precision": 0.0, "recall": None}
    assert result.confused(5) == [("yes", "no", 1), ("no", "up", 1)]
    assert result.confused(1) == [("yes", "no", 1)]
    # One logit at 2, two at 0.
    right, wrong = math.log(math.e**2 + 2) - 2, math.log(math.e**2 + 2)
    assert result.losses == pytest.approx([right, right, wrong, right, wrong])
    assert result.loss == pytest.approx((3 * right + 2 * wrong) / 5)


def test_never_predicted_word_has_no_precision():
    assert evaluation([0, 0], [0, 1], labels=("yes", "no")).per_word["no"].precision is None


@given(evaluations())
def test_totals_agree(result):
    assert result.confusion.sum() == result.n
    assert np.trace(result.confusion) == result.correct == round(result.accuracy * result.n)
    assert sum(score.n for score in result.per_word.values()) == result.n
    assert sum(score.predicted for score in result.per_word.values()) == result.n
    hits = sum(score.n * score.recall for score in result.per_word.values() if score.recall is not None)
    assert hits == pytest.approx(result.correct)
    errors = sum(count for _, _, count in result.confused(1000))
    assert errors == result.n - result.correct


@given(evaluations())
def test_losses_are_the_cross_entropy_of_torch(result):
    logits = torch.from_numpy(result.logits).double()
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(result.targets), reduction="none")
    np.testing.assert_allclose(result.losses, expected.numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.exp(result.log_probabilities).sum(axis=1), 1, rtol=1e-12)


@given(evaluations(), st.integers(0, 40))
def test_worst_clips_are_sorted_and_are_the_largest(result, count):
    worst = result.worst(count)
    assert len(worst) == min(count, result.n)
    losses = [clip.loss for clip in worst]
    assert losses == sorted(losses, reverse=True)
    assert losses == sorted(result.losses.tolist(), reverse=True)[:count]
    for clip in worst:
        index = result.names.index(clip.name)
        assert clip.word == result.labels[result.targets[index]]
        assert clip.predicted == result.labels[result.predictions[index]]
        assert 1 / len(result.labels) - 1e-9 <= clip.score <= 1


@given(evaluations())
def test_json_holds_the_figures_and_no_nan(result):
    report = json.loads(json.dumps(result.to_json(worst=3), allow_nan=False))
    assert report["accuracy"] == result.accuracy
    assert report["n"] == result.n
    assert tuple(report["interval"]) == result.interval
    assert list(report["per_word"]) == list(result.labels)
    assert report["confusion"] == result.confusion.tolist()
    assert len(report["worst"]) == min(3, result.n)
    assert "stream_difference" not in report


def test_huge_logits_do_not_overflow():
    result = Evaluation(np.array([[1e30, -1e30]], dtype=np.float32), np.array([1]), ("yes", "no"), ["a.wav"])
    assert result.loss == pytest.approx(2e30)


@pytest.mark.parametrize(
    ("logits", "targets", "names", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), [], "no clip"),
        (np.zeros((2, 3)), np.zeros(2, dtype=int), ["a", "b"], r"expected logits \(2, 2\).*got \(2, 3\)"),
        (np.zeros((2, 2)), np.array([0, 2]), ["a", "b"], "expected targets in 0 to 1, got 0 to 2"),
        (np.array([[0, 0], [np.nan, 0]]), np.array([0, 1]), ["a.wav", "b.wav"], r"NaN.* 1 clip, b\.wav"),
    ],
)
def test_what_makes_no_sense_is_refused(logits, targets, names, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(logits, targets, ("yes", "no"), names)
