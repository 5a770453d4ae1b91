"""Fuzzing: random inputs for the package, for a number of minutes or of inputs.

    python scripts/fuzz/run.py --minutes 5 --seed 0              # all targets, the time shared among them
    python scripts/fuzz/run.py --count 50000 audio_files         # one target
    python scripts/fuzz/run.py --seed 0 --only 1234 audio_files  # one input again, with its traceback

Each input has a seed of its own, with which a violation is printed. A violation is an error of a class that is not
documented, a wrong answer, more than 10 seconds, more than 2 GB, or the end of the process. The exit status is 1 if
there are any.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from target import Target

HERE = Path(__file__).parent
SHOWN = 3  # violations of one kind that are printed; all are counted


@dataclass(frozen=True)
class Limits:
    """What one input may take.

    Attributes:
        seconds: of time.
        extra_bytes: of address space, beyond what the process has when its target is ready.
    """

    seconds: float = 10.0
    extra_bytes: int = 2 << 30


@dataclass
class Tally:
    """What came out of a target's inputs: how often each label, and how often each kind of violation."""

    labels: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.labels.total() + self.violations.total()


class _Overtime(BaseException):
    """The input has taken too long; no handler of errors in the package may catch it."""


def targets() -> list[str]:
    """Names of the modules beside this one that have an ``attempt``."""
    return sorted(path.stem for path in HERE.glob("*.py") if "\ndef attempt(" in path.read_text("utf-8"))


def load(name: str) -> Target:
    """Import a target."""
    return cast(Target, importlib.import_module(name))


def seed_of(name: str, seed: int, index: int) -> random.Random:
    """The source of chance of one input."""
    return random.Random(f"{name}/{seed}/{index}")


def fuzz(
    name: str,
    seed: int,
    jobs: int = 1,
    count: int | None = None,
    minutes: float | None = None,
    limits: Limits = Limits(),
) -> Tally:
    """Try a target's inputs 0, 1, 2, ... in processes of their own, and print the violations.

    Args:
        name: of the target.
        seed: of all inputs.
        jobs: processes.
        count: inputs; None for no end.
        minutes: of time; None for no end.
        limits: of each input.
    """
    tally = Tally()
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    workers = [_Worker(name, seed, start, jobs, limits) for start in range(jobs)]
    while workers:
        wait([worker.results for worker in workers], timeout=0.1)
        for worker in list(workers):
            for index, label, violation in worker.received():
                if count is None or index < count:
                    _count(tally, name, seed, index, label, violation)
            if time.monotonic() > end or (count is not None and worker.next >= count):
                worker.stop()
                workers.remove(worker)
    return tally


def _count(tally: Tally, name: str, seed: int, index: int, label: str, violation: str | None) -> None:
    if violation is None:
        tally.labels[label] += 1
        return
    tally.violations[label] += 1
    if tally.violations[label] <= SHOWN:
        print(f"VIOLATION {name} --seed {seed} --only {index}: {violation}", flush=True)


class _Worker:
    """A process that tries every ``jobs``-th input; started anew behind an input that ends it."""

    def __init__(self, name: str, seed: int, first: int, jobs: int, limits: Limits) -> None:
        self.name, self.seed, self.jobs, self.limits = name, seed, jobs, limits
        self.next = first
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.results, theirs = context.Pipe(duplex=False)
        self.folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{self.name}-"))
        arguments = (theirs, self.folder, self.name, self.seed, self.next, self.jobs, self.limits)
        self.process: BaseProcess = context.Process(target=_try_inputs, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False
        self.heard = time.monotonic()

    def received(self) -> Iterator[tuple[int, str, str | None]]:
        """Index, label and violation of what has been tried since the last call."""
        while self.results.poll():
            try:
                message = self.results.recv()
            except EOFError:
                yield from self._ended()
                return
            self.heard = time.monotonic()
            if message is None:
                self.ready = True
                continue
            yield (self.next, *message)
            self.next += self.jobs
        # What hangs in C does not hear the alarm.
        if self.ready and time.monotonic() - self.heard > 1.5 * self.limits.seconds + 1:
            self.stop()
            yield self.next, "no end", f"no end in {1.5 * self.limits.seconds + 1:.0f} s"
            self._restart()

    def _ended(self) -> Iterator[tuple[int, str, str | None]]:
        self.process.join()
        self.stop()
        if not self.ready:
            raise RuntimeError(f"{self.name}: the target could not be prepared")
        yield self.next, "died", f"the process ended with {self.process.exitcode}"
        self._restart()

    def _restart(self) -> None:
        self.next += self.jobs
        self._start()

    def stop(self) -> None:
        """End the process and remove its folder."""
        self.process.kill()
        self.process.join()
        self.results.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _try_inputs(results: Connection, folder: Path, name: str, seed: int, first: int, jobs: int, limits: Limits) -> None:
    target = load(name)
    target.prepare(folder)
    _limit_memory(limits)
    signal.signal(signal.SIGALRM, _alarm)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the package's notes
        os.dup2(nowhere, stream)
    results.send(None)
    index = first
    while True:
        results.send(_tried(target, seed_of(name, seed, index), limits))
        index += jobs


def _alarm(*_: Any) -> None:
    raise _Overtime


def _limit_memory(limits: Limits) -> None:
    import resource  # not on Windows, where nothing is limited

    pages = Path("/proc/self/statm")
    if pages.exists():
        size = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + limits.extra_bytes, resource.RLIM_INFINITY))


def _tried(target: Target, rng: random.Random, limits: Limits) -> tuple[str, str | None]:
    """Label of what came out, and the violation if it is one."""
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    try:
        return target.attempt(rng), None
    except _Overtime:
        return "overtime", f"more than {limits.seconds:g} s"
    except BaseException as error:
        if isinstance(error, target.ALLOWED):
            return f"refused ({type(error).__name__})", None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return f"{type(error).__name__} at {place}", f"{type(error).__name__} at {place}: {str(error)[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _repeat(name: str, seed: int, index: int) -> int:
    target = load(name)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as folder:
        target.prepare(Path(folder))
        try:
            print(target.attempt(seed_of(name, seed, index)))
        except target.ALLOWED as error:
            print(f"refused: {type(error).__name__}: {error}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"default: all ({', '.join(targets())})")
    parser.add_argument("--minutes", type=float, help="for all targets together (default: 5, without --count)")
    parser.add_argument("--count", type=int, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="try this one input of one target again")
    args = parser.parse_args(argv)
    names = args.targets or targets()
    unknown = set(names) - set(targets())
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(targets())}")
    if args.only is not None:
        if len(names) != 1:
            parser.error("--only goes with one target")
        return _repeat(names[0], args.seed, args.only)
    minutes = args.minutes if args.minutes is not None or args.count is not None else 5.0
    violations = 0
    for name in names:
        began = time.monotonic()
        tally = fuzz(name, args.seed, args.jobs, args.count, minutes / len(names) if minutes is not None else None)
        violations += tally.violations.total()
        found = ", ".join(f"{label} {n:,}" for label, n in (tally.labels + tally.violations).most_common(8))
        print(
            f"{name}: {tally.count:,} inputs of seed {args.seed} in {time.monotonic() - began:.0f} s, "
            f"{tally.violations.total():,} violations ({found})",
            flush=True,
        )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
