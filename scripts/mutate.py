"""Mutation testing: small faults are planted one at a time in the package, and the tests that reach them must fail.

    pip install -e ".[dev,mutation]"
    python scripts/mutate.py --report mutants.json                                   # the files below, in two processes
    python scripts/mutate.py --sample 25 --report mutants.json                       # 25 drawn of each file's
    python scripts/mutate.py --again --report mutants.json                           # those that were not killed

The faults are those of cosmic-ray, one or two for each place. Each is planted in memory, in a process that has imported
torch already, so that one costs a few seconds. Tests that take more than ``--slow`` seconds are left out.
"""

import argparse
import importlib.abc
import importlib.util
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MUTATED = (
    "wavedil/layers",
    "wavedil/streaming.py",
    "wavedil/functional.py",
    "wavedil/receptive/arithmetic.py",
    "wavedil/receptive/taps.py",
    "wavedil/receptive/stack.py",
)
TESTS = (
    "tests/layers",
    "tests/test_streaming.py",
    "tests/test_functional.py",
    "tests/test_testing.py",
    *(
        f"tests/receptive/test_{name}.py"
        for name in ("arithmetic", "taps", "stack", "description", "gridding", "design")
    ),
)
# cosmic-ray replaces each operator by all others; more than these says little more.
OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Mod_FloorDiv", "Pow_Mul", "BitAnd_BitOr", "RShift_LShift")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "Gt_GtE", "Gt_LtE", "GtE_Gt")),
    *(f"ReplaceUnaryOperator_{pair}" for pair in ("USub_UAdd", "Delete_Not")),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop"),
)
PYTEST = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-seed=0")
FIRST_TESTS = 30  # of the quickest are tried alone; most mutants die there


@dataclass(frozen=True)
class Mutant:
    """One fault: a file, the line, the operator of cosmic-ray and which of its places in the file."""

    file: str
    line: int
    operator: str
    occurrence: int
    change: str


@dataclass(frozen=True)
class Reach:
    """Which tests run a line of which file, and how long each test takes in seconds."""

    by_line: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run the mutant's line, the quickest first; for what runs on import, all of the file's."""
        lines = self.by_line.get(mutant.file, {})
        tests = lines.get(mutant.line, set()) - {""}
        if not tests:
            tests = set().union(*lines.values()) - {""}
        return sorted((test for test in tests if test in self.seconds), key=lambda test: self.seconds[test])


class _Impatient:
    """A plugin of pytest that keeps hypothesis from looking for the smallest example that fails."""

    @staticmethod
    def pytest_configure() -> None:
        from hypothesis import Phase, settings

        settings.register_profile(
            "mutation",
            settings(),
            max_examples=100,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            deadline=None,
        )
        settings.load_profile("mutation")


class _Timer:
    """A plugin of pytest that tells coverage which test runs and notes how long it takes (of its CPU time)."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.began = time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = time.process_time() - self.began
        self.coverage.switch_context("")


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one file of the package with a fault in it."""

    def __init__(self, file: str, source: str) -> None:
        self.path, self.source = ROOT / file, source
        parts = list(Path(file).with_suffix("").parts)
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self.path,
            loader=self,
            submodule_search_locations=[str(self.path.parent)] if self.is_package else None,
        )

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)  # noqa: S102


def mutants_of(file: str) -> Iterator[Mutant]:
    """All faults of a file."""
    from cosmic_ray.plugins import get_operator  # pyright: ignore[reportMissingImports]

    source = (ROOT / file).read_text("utf-8")
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        occurrence = 0
        while (mutated := _mutated(source, operator, occurrence)) is not None:
            line, change = _difference(source, mutated)
            if change and "strict=" not in change:  # a check of lengths that are equal: no test can tell
                yield Mutant(file, line, name, occurrence, change)
            occurrence += 1


def _mutated(source: str, operator: Any, occurrence: int) -> str | None:
    from cosmic_ray.mutating import mutate_code  # pyright: ignore[reportMissingImports]

    return mutate_code(source, operator, occurrence)


def _difference(source: str, mutated: str) -> tuple[int, str]:
    """The first line that differs, and it as it was and as it is now."""
    for number, (old, new) in enumerate(zip(source.splitlines(), mutated.splitlines(), strict=False), 1):
        if old != new:
            return number, f"{old.strip()}  ->  {new.strip()}"
    return 0, ""


def measure_reach(files: Iterable[str], tests: Iterable[str], slow: float) -> Reach:
    """Run the tests once, in a process of their own, to see which lines each of them runs."""
    results, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_measure, args=(theirs, list(files), list(tests), slow)
    )
    process.start()
    theirs.close()
    reach = results.recv()
    process.join()
    return reach


def _measure(results: Any, files: list[str], tests: list[str], slow: float) -> None:
    import coverage  # pyright: ignore[reportMissingImports]
    import pytest

    cover = coverage.Coverage(data_file=None, include=[str(ROOT / file) for file in files], branch=False)
    timer = _Timer(cover)
    cover.start()
    status = pytest.main([*PYTEST, "-m", "not full and not gpu", *tests], plugins=[timer])
    cover.stop()
    if status:
        raise SystemExit("the tests fail without a fault")
    data = cover.get_data()
    by_line = {
        file: {line: set(tests) for line, tests in data.contexts_by_lineno(str(ROOT / file)).items()} for file in files
    }
    results.send(Reach(by_line, {test: seconds for test, seconds in timer.seconds.items() if seconds <= slow}))


def outcome(mutant: Mutant, tests: list[str], seconds: float) -> str:
    """What became of a mutant: "killed", "survived" or "not reached"."""
    if not tests:
        return "not reached"
    for chosen in (tests[:FIRST_TESTS], tests[FIRST_TESTS:]):
        if chosen and _fails(mutant, chosen, seconds):
            return "killed"
    return "survived"


def _fails(mutant: Mutant, tests: list[str], seconds: float) -> bool:
    """Whether one of the tests fails, the tests take far too long, or the process ends."""
    process = multiprocessing.get_context("fork").Process(target=_run_planted, args=(mutant, tests))
    process.start()
    process.join(timeout=seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode != 0


def _run_planted(mutant: Mutant, tests: list[str]) -> None:
    import pytest
    from cosmic_ray.plugins import get_operator  # pyright: ignore[reportMissingImports]

    source = (ROOT / mutant.file).read_text("utf-8")
    mutated = _mutated(source, get_operator(f"core/{mutant.operator}")(), mutant.occurrence)
    sys.meta_path.insert(0, _Planter(mutant.file, mutated or source))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os._exit(int(pytest.main([*PYTEST, "-x", *tests], plugins=[_Impatient()])))


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(MUTATED), help="files or folders of the package")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), help="that may find the faults")
    parser.add_argument("--sample", type=int, help="mutants to draw of each file; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--slow", type=float, default=3.0, help="tests that take more seconds are left out (default: 3)"
    )
    parser.add_argument("--report", type=Path, help="JSON file of all mutants and what became of them")
    parser.add_argument("--again", action="store_true", help="try those of the report that were not killed, no others")
    args = parser.parse_args(argv)
    if args.again and not args.report:
        parser.error("--again: give the report, --report FILE")
    os.chdir(ROOT)
    files = sorted(str(path) for given in args.files for path in (sorted(Path(given).rglob("*.py")) or [Path(given)]))
    import hypothesis  # noqa: F401 - imported once here, and not again in each process
    import pytest  # noqa: F401
    import torch  # noqa: F401

    before = _read(args.report) if args.again else {}
    drawn = (mutant for file in files for mutant in _drawn(list(mutants_of(file)), args.sample, args.seed))
    mutants = [mutant for mutant, end in before.items() if end != "killed"] if args.again else list(drawn)
    files = sorted({mutant.file for mutant in mutants})
    reach = measure_reach(files, args.tests, args.slow)
    print(f"{len(mutants):,} mutants, {len(reach.seconds):,} tests", flush=True)
    outcomes = list((before | dict(_all_outcomes(mutants, reach, args.jobs))).items())
    _print(outcomes)
    if args.report:
        args.report.write_text(
            json.dumps([asdict(mutant) | {"outcome": end} for mutant, end in outcomes], indent=1) + "\n"
        )
    return 0


def _read(report: Path) -> dict[Mutant, str]:
    """The mutants of a report and what became of them."""
    entries = json.loads(report.read_text("utf-8"))
    return {Mutant(**{key: entry[key] for key in entry if key != "outcome"}): entry["outcome"] for entry in entries}


def _drawn(mutants: list[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """So many of a file's mutants, in their order."""
    if count is None or count >= len(mutants):
        return mutants
    return sorted(random.Random(seed).sample(mutants, count), key=mutants.index)


def _all_outcomes(mutants: list[Mutant], reach: Reach, jobs: int) -> list[tuple[Mutant, str]]:
    def one(mutant: Mutant) -> tuple[Mutant, str]:
        tests = reach.tests_of(mutant)
        end = outcome(mutant, tests, 20 + 5 * sum(reach.seconds[test] for test in tests))
        if end != "killed":
            print(f"{end}: {mutant.file}:{mutant.line} {mutant.operator}: {mutant.change}", flush=True)
        return mutant, end

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, mutants))


def _print(outcomes: list[tuple[Mutant, str]]) -> None:
    ends: dict[str, Counter[str]] = {}
    for mutant, end in outcomes:
        ends.setdefault(mutant.file, Counter())[end] += 1
    total = sum(ends.values(), Counter[str]())
    for file, counts in (*ends.items(), ("all", total)):
        share = counts["killed"] / counts.total()
        rest = f"{counts['survived']} survived, {counts['not reached']} not reached"
        print(f"{file}: {counts['killed']:,} of {counts.total():,} killed ({share:.1%}), {rest}")


if __name__ == "__main__":
    sys.exit(main())
