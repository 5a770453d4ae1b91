"""What a set of logits says: accuracy with its interval, precision and recall of each word, confusion, worst clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Z_95 = 1.959963984540054  # the 97.5th percentile of the normal distribution


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Confidence interval of a proportion; stays in [0, 1] and is sound near 0 and 1. Source: Wilson 1927, JASA 22.

    Args:
        correct: successes, 0 to ``n``.
        n: trials, at least 1.
        z: quantile of the normal distribution; the default gives 95%.

    Returns:
        The lower and upper bound.

    Raises:
        ValueError: if ``n`` is not positive or ``correct`` is not in 0 to ``n``.

    Example:
        >>> low, high = wilson_interval(97, 100)
        >>> round(low, 4), round(high, 4)
        (0.9155, 0.9897)
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"expected 0 <= correct <= n with n >= 1, got correct = {correct}, n = {n}")
    share = correct / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half_width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # At the ends the bounds are exactly 0 and 1; rounding would miss them.
    return (centre - half_width if correct else 0.0), (centre + half_width if correct < n else 1.0)


def accuracy_in_words(correct: int, n: int) -> str:
    """An accuracy, never without its interval.

    Example:
        >>> accuracy_in_words(3, 3)
        '100.00% (95% interval 43.85% to 100.00%), 3 of 3 clips'
    """
    low, high = wilson_interval(correct, n)
    clips = "1 clip" if n == 1 else f"{n:,} clips"
    return f"{correct / n:.2%} (95% interval {low:.2%} to {high:.2%}), {correct:,} of {clips}"


@dataclass(frozen=True)
class WordScore:
    """Precision and recall of one word; None where there is nothing to divide by.

    Attributes:
        n: clips of the word.
        predicted: clips that the model took for the word.
        precision: share of ``predicted`` that were the word.
        recall: share of ``n`` that the model recognised.
    """

    n: int
    predicted: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class ClipLoss:
    """One clip's prediction, for the list of the worst.

    Attributes:
        name: of the clip.
        word: what it is.
        predicted: what the model took it for.
        score: probability that the model gave to ``predicted``.
        loss: cross-entropy in nats, of ``word``.
    """

    name: str
    word: str
    predicted: str
    score: float
    loss: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The logits of a set of clips and all that follows from them.

    Attributes:
        logits: ``(n, n_classes)``.
        targets: ``(n,)`` indices into ``labels``.
        labels: the words, one a class.
        names: of the clips, ``n`` of them.
        stream_difference: largest difference between the streamed and the offline logits; None if only one was made.
        stream_mismatches: clips whose streamed and offline predictions differ; likewise.

    Raises:
        ValueError: if there is no clip, the shapes do not fit, a target is no class, or a logit is not finite.
    """

    logits: np.ndarray
    targets: np.ndarray
    labels: tuple[str, ...]
    names: Sequence[str]
    stream_difference: float | None = None
    stream_mismatches: int | None = None

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.labels))
        if shape[0] == 0:
            raise ValueError("there is no clip to evaluate")
        if self.logits.shape != shape or self.targets.shape != shape[:1]:
            raise ValueError(
                f"expected logits {shape} and targets {shape[:1]}, got {self.logits.shape} and {self.targets.shape}"
            )
        if self.targets.min() < 0 or self.targets.max() >= shape[1]:
            raise ValueError(
                f"expected targets in 0 to {shape[1] - 1}, got {self.targets.min()} to {self.targets.max()}"
            )
        finite = np.isfinite(self.logits).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            count = int((~finite).sum())
            which = f"1 clip, {self.names[bad]}" if count == 1 else f"{count} clips, {self.names[bad]} the first"
            raise ValueError(f"the model's output is NaN or infinite for {which}")

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.names)

    @cached_property
    def predictions(self) -> np.ndarray:
        """``(n,)`` class of the largest logit."""
        return self.logits.argmax(axis=1)

    @property
    def correct(self) -> int:
        """Number of clips whose prediction is their word."""
        return int((self.predictions == self.targets).sum())

    @property
    def accuracy(self) -> float:
        """Share of the clips whose prediction is their word."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval of the accuracy."""
        return wilson_interval(self.correct, self.n)

    def describe(self) -> str:
        """The accuracy with its interval and the number of clips, in words."""
        return accuracy_in_words(self.correct, self.n)

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """``(n, n_classes)``, float64."""
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    @cached_property
    def losses(self) -> np.ndarray:
        """``(n,)`` cross-entropy in nats."""
        return -self.log_probabilities[np.arange(self.n), self.targets]

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return float(self.losses.mean())

    @cached_property
    def confusion(self) -> np.ndarray:
        """``(n_classes, n_classes)`` counts; the row is the word, the column the prediction."""
        n_classes = len(self.labels)
        cells = self.targets * n_classes + self.predictions
        return np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)

    @cached_property
    def per_word(self) -> dict[str, WordScore]:
        """Precision and recall of each label, in the order of the labels."""
        scores = {}
        for index, word in enumerate(self.labels):
            hits = int(self.confusion[index, index])
            n, predicted = int(self.confusion[index].sum()), int(self.confusion[:, index].sum())
            scores[word] = WordScore(n, predicted, hits / predicted if predicted else None, hits / n if n else None)
        return scores

    def confused(self, count: int) -> list[tuple[str, str, int]]:
        """The most frequent confusions as ``(word, prediction, clips)``, at most ``count``."""
        errors = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-errors, axis=None, kind="stable")[:count]
        rows, columns = np.unravel_index(order, errors.shape)
        cells = zip(rows, columns, strict=True)
        return [(self.labels[r], self.labels[c], int(errors[r, c])) for r, c in cells if errors[r, c]]

    def worst(self, count: int) -> list[ClipLoss]:
        """The ``count`` clips of the largest loss, the worst first; equal ones in their own order."""
        rows = []
        for index in map(int, np.argsort(-self.losses, kind="stable")[:count]):
            word, predicted = self.labels[self.targets[index]], self.labels[self.predictions[index]]
            score = float(np.exp(self.log_probabilities[index].max()))
            rows.append(ClipLoss(self.names[index], word, predicted, score, float(self.losses[index])))
        return rows

    def to_json(self, worst: int = 20) -> dict[str, Any]:
        """All of it but the logits, as what ``json.dumps`` takes; undefined figures are None.

        Args:
            worst: how many of the worst clips to list.
        """
        report: dict[str, Any] = {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "n": self.n,
            "correct": self.correct,
            "loss": self.loss,
            "per_word": {word: vars(score) for word, score in self.per_word.items()},
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "worst": [vars(clip) for clip in self.worst(worst)],
        }
        if self.stream_difference is not None:
            report["stream_difference"] = self.stream_difference
            report["stream_mismatches"] = self.stream_mismatches
        return report
