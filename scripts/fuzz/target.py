"""What a target of the fuzzing is: a module that makes one input from a seed and uses the package with it."""

import random
from pathlib import Path
from typing import Protocol


class Wrong(Exception):  # noqa: N818
    """The package took an input and gave something wrong for it without a word."""


class Target(Protocol):
    """Interface of a target module.

    Attributes:
        ALLOWED: the documented classes of errors; an attempt that ends in one of them counts as refused.
    """

    ALLOWED: tuple[type[BaseException], ...]

    def prepare(self, folder: Path) -> None:
        """Make the seed material, once a process, in an empty folder that is removed at the end."""
        ...

    def attempt(self, rng: random.Random) -> str:
        """Make one input, use it, and return a short label of what came out.

        Args:
            rng: the only source of chance, so that a seed and an index repeat the attempt.

        Raises:
            Wrong: if the package gave something wrong without an error.
        """
        ...
