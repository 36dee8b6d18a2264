"""Mutation testing: of a sample of small faults put into the library, how many do the unit tests notice?

    python benchmarks/mutants.py [--n 200] [--seed 0] [--out build/mutants]

A mutant is one small change (`mutations.py`) in one of the modules of ROOMS and MORE. `--seed` samples them without
replacement from all there are, less those that do as the library does whatever is tested. TESTS, less the simulations
of SPARED, run once under coverage; a mutant then meets those that execute its statement, the fastest first, until one
fails or SPENT seconds of them have passed. Everything happens in a temporary copy of the checkout. Outcomes are stored
under `--out`, by a hash of the library: a run that was stopped goes on from there, and after a change of the tests
alone those are met again that survived, or whose killer is gone. Prints the fraction killed with Clopper and Pearson's
interval and every survivor, with the reason that `mutants_kept.csv` beside this file states for it; exit code 1 where
fewer than FLOOR are killed.

mutmut 3 and cosmic-ray know more kinds of fault. The one has no sampling and leaves constants at module level alone;
the other runs one command for all modules and works inside the checkout.
"""

from __future__ import annotations

# Nothing of the library is imported here: each test process imports this file, and then the mutated copy.
import argparse
import csv
import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mutations
from mutations import Description, Mutant

ROOT = Path(__file__).resolve().parents[1]
EXPLAINED = Path(__file__).with_name("mutants_kept.csv")
LIBRARY = ROOT / "medisyn_lib"
ROOMS = ("claims", "data", "evaluation", "statistics")  # all their modules, and MORE
MORE = ("reporting/compare",)
TESTED = """
    agreement alignment attributes augmentation break_even c04_text_alignment c05_memorization
    c07_reference_standards claims compare compute crossed data data_cards data_sources fidelity
    grade_tables graders image_physics memorization nearness neighbours noninferiority quality
    real_graders reference_generators reference_standards statistics tuning utility word_changes
""".split()
TESTS = [f"tests/test_{name}.py" for name in TESTED]
# Simulations of how often a rule errs take most of the time, and more under coverage: mutants are spared them.
SPARED = (
    "_cover",
    "is_the_spread",
    "calibration_reaches",
    "triple_the",
    "holds_its_level",
)
FLOOR = 0.85  # of the mutants are to be killed
SPENT = 20.0  # seconds, unmutated and under coverage, of the tests that a mutant meets
PATIENCE = 60.0  # seconds of processor time that a mutant may need beyond three times these: endless loops are noticed
LEFT_OUT = (
    ".git",
    ".venv",
    "build",
    "results",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".coverage",
)
# Imported once for all mutants; nothing of this project.
LOADED = """
    torch scipy.stats scipy.spatial pandas statsmodels.api statsmodels.stats.inter_rater sklearn.linear_model
    sklearn.metrics sklearn.neighbors sklearn.decomposition datasets transformers diffusers PIL.Image torch_fidelity
    prdc pytest hypothesis
""".split()
FIELDS = ["place", "turn", "line", *Description._fields, "outcome", "test", "tests"]
KILLED = ("killed", "timeout")

Row = dict[str, str]  # of the table of outcomes, by FIELDS


class Outcome(NamedTuple):
    """What the tests made of a mutant: killed, timeout, survived or not run; and the first test that noticed."""

    word: str
    test: str = ""


def modules() -> list[str]:
    """List the modules that are mutated, as paths in the library without `.py`."""
    paths = [path for room in ROOMS for path in sorted((LIBRARY / room).rglob("*.py"))]
    return [*(path.relative_to(LIBRARY).with_suffix("").as_posix() for path in paths), *MORE]


def environment(copy: Path, store: Path) -> dict[str, str]:
    """Return what makes tests import the copy, leave nothing beside it, and use one thread."""
    return {
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MEDISYN_STORE": str(store),
        "OMP_NUM_THREADS": "1",
    }


def run_tests(copy: Path, tests: Sequence[str], place: Path, limit: float) -> None:
    """In a process of its own, run tests in the copy until one fails; the exit code is pytest's."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
    os.chdir(copy)
    os.environ.update(environment(copy, place / "store"))
    # None of the other plugins is needed, and they take long to import.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(copy))
    with (place / "log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    import pytest

    options = ["-x", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-o", "addopts="]
    os._exit(pytest.main([*options, *tests]))


def try_tests(copy: Path, tests: Sequence[str], limit: float) -> Outcome:
    """Say whether tests notice what stands in the copy."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        arguments = (copy, tests, Path(place), limit)
        child = multiprocessing.get_context("forkserver").Process(target=run_tests, args=arguments)
        child.start()
        child.join(20 * limit)  # a busy machine is no reason
        if child.exitcode is None:
            os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()
        if child.exitcode in (-signal.SIGKILL, -signal.SIGXCPU):
            return Outcome("timeout")
        lines = (Path(place) / "log").read_text("utf-8", "replace").splitlines()
    if not child.exitcode:
        return Outcome("survived")
    failed = [line.split(" ", 1)[1] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    first = failed[0] if failed else ""
    named = (test for test in tests if f"{first} ".startswith(f"{test} "))
    return Outcome("killed", next(named, first))


def run_unit_tests(copy: Path, out: Path) -> None:
    """Run the unit tests once: `out` holds who executes which line (`coverage`) and each test's seconds."""
    spared = f"not ({' or '.join(SPARED)})"
    command = [sys.executable, "-m", "pytest", *TESTS, "-k", spared, "-q", "-p", "no:cacheprovider"]
    command += ["--cov", "--cov-report=", "--cov-context=test"]
    command += [f"--junitxml={out / 'tests.xml.tmp'}"]
    coverage = {"COVERAGE_FILE": str(out / "coverage"), "COVERAGE_CORE": "ctrace"}
    with tempfile.TemporaryDirectory() as store:
        settings = os.environ | environment(copy, Path(store)) | coverage
        if subprocess.run(command, cwd=copy, env=settings).returncode:
            sys.exit("mutants: the unit tests fail without any mutant; mend that first")
    (out / "tests.xml.tmp").rename(out / "tests.xml")


def seconds_of_tests(out: Path) -> dict[str, float]:
    """Return how long each unit test took, by its name to pytest."""
    cases = ElementTree.parse(out / "tests.xml").iter("testcase")  # noqa: S314  pytest wrote it
    seconds = {}
    for case in cases:
        file = case.get("classname", "").replace(".", "/")
        seconds[f"{file}.py::{case.get('name')}"] = float(case.get("time", 0))
    return seconds


def tests_by_line(out: Path, module: str) -> dict[int, set[str]]:
    """Return the unit tests that execute each line of a module."""
    import coverage

    data = coverage.CoverageData(str(out / "coverage"))
    data.read()
    contexts = data.contexts_by_lineno(f"medisyn_lib/{module}.py")
    return {
        line: {name.rpartition("|")[0] for name in names} - {""} for line, names in contexts.items()
    }


class Trials:
    """A copy of the checkout into which mutants are put one at a time.

    `out` holds what `run_unit_tests` left.
    """

    def __init__(self, copy: Path, out: Path) -> None:
        self.copy, self.out = copy, out
        self.seconds = seconds_of_tests(out)
        self.passes: dict[str, bool] = {}  # whether a test that killed passes without a mutant

    def meet(self, mutant: Mutant) -> Row:
        """Put a mutant into the copy, run the tests that it meets, and take it out again."""
        file = self.copy / "medisyn_lib" / f"{mutant.module}.py"
        source = file.read_text("utf-8")
        mutated = mutations.mutate(mutant, source)
        tests = self._tests_that_run(mutant.module, mutated.shown_by)
        limit = PATIENCE + 3 * sum(self.seconds[test] for test in tests)
        outcome = Outcome("survived" if tests else "not run")
        while tests:
            file.write_text(mutated.source, "utf-8")
            outcome = try_tests(self.copy, tests, limit)
            file.write_text(source, "utf-8")
            if outcome.test not in tests or self._passes_unmutated(outcome.test, limit):
                break
            tests.remove(outcome.test)  # it would kill everything
        row = {"place": mutant.place, "turn": mutant.turn, "line": mutated.line}
        row |= mutated.description._asdict()
        row |= {"outcome": outcome.word, "test": outcome.test, "tests": self.out.name}
        return {name: str(value) for name, value in row.items()}

    def _tests_that_run(self, module: str, lines: Sequence[int]) -> list[str]:
        """The tests that execute some of these lines, the fastest first, SPENT seconds of them."""
        by_line = tests_by_line(self.out, module)
        names = set().union(*(by_line.get(line, set()) for line in lines)) & self.seconds.keys()
        tests, spent = [], 0.0
        for name in sorted(names, key=lambda name: (self.seconds[name], name)):
            spent += self.seconds[name]
            if spent <= SPENT or not tests:
                tests.append(name)
        return tests

    def _passes_unmutated(self, test: str, limit: float) -> bool:
        if test not in self.passes:
            self.passes[test] = try_tests(self.copy, [test], limit).word == "survived"
        return self.passes[test]


def meet_all(sampled: Sequence[Mutant], copy: Path, stored: Path, out: Path) -> list[Row]:
    """Return the outcome of each mutant: as it is stored, where that still holds, else by the tests of `out`."""
    if not stored.exists():
        stored.write_text(",".join(FIELDS) + "\n", "utf-8")
    outcomes, trials = stored_outcomes(stored), Trials(copy, out)
    for number, mutant in enumerate(sampled, 1):
        if mutant in outcomes and still_holds(outcomes[mutant], trials.seconds, out.name):
            continue
        row = trials.meet(mutant)
        with stored.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, FIELDS).writerow(row)
        where = f"{row['module']}.py:{row['line']}"
        print(f"{number:4} {row['outcome']:9} {where} {row['before']}", flush=True)
    outcomes = stored_outcomes(stored)
    return [outcomes[mutant] for mutant in sampled]


def still_holds(row: Row, tests: Mapping[str, float], stamp_of_tests: str) -> bool:
    """Say whether an outcome holds with the present tests: its killer is there, or they are the same."""
    unchanged = row["tests"] == stamp_of_tests
    return row["outcome"] == "timeout" or row["test"] in tests or unchanged


def stored_outcomes(stored: Path) -> dict[Mutant, Row]:
    """Return the last row of each mutant in the file of outcomes."""
    with stored.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {Mutant(row["module"], int(row["place"]), int(row["turn"])): row for row in rows}


def reasons() -> dict[Description, str]:
    """Return why survivors are left alive, by what they are."""
    with EXPLAINED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        Description(*(row[name] for name in Description._fields)): row["reason"] for row in rows
    }


def report(rows: Sequence[Row]) -> bool:
    """Print what survived and why, and the fraction killed with its interval; say whether that is high enough."""
    from statsmodels.stats.proportion import proportion_confint

    explained = reasons()
    for row in rows:
        if row["outcome"] not in KILLED:
            description = Description(*(row[name] for name in Description._fields))
            where = f"{row['module']}.py:{row['line']} {row['function']}"
            print(f"{where}: {row['before']} -> {row['after']}")
            print(f"    {row['outcome']}: {explained.get(description, 'NO REASON GIVEN')}")
    killed = sum(row["outcome"] in KILLED for row in rows)
    low, high = proportion_confint(killed, len(rows), method="beta")
    interval = f"95% interval {low:.1%} to {high:.1%}"
    print(f"killed {killed} of {len(rows)} mutants: {killed / len(rows):.1%} ({interval})")
    return killed >= FLOOR * len(rows)


def stamp(paths: Sequence[Path]) -> str:
    """Return what files hold, in a few letters."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def main() -> None:
    """Sample mutants, run what tests each meets, and report."""
    options = arguments()
    stored = options.out.resolve() / stamp(sorted(LIBRARY.rglob("*.py"))) / "outcomes.csv"
    tests = [ROOT / "pyproject.toml", *sorted((ROOT / "tests").glob("*.py"))]
    out = stored.parent / stamp(tests)
    out.mkdir(parents=True, exist_ok=True)
    sources = {name: (LIBRARY / f"{name}.py").read_text("utf-8") for name in modules()}
    number = len(mutations.all_mutants(sources))
    sampled = mutations.sample(sources, options.n, options.seed)
    of = f"of {number} mutants of {len(sources)} modules"
    print(f"{len(sampled)} {of}; outcomes in {stored}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        if not (out / "tests.xml").exists():
            run_unit_tests(copy, out)
        multiprocessing.set_forkserver_preload(LOADED)
        rows = meet_all(sampled, copy, stored, out)
    if not report(rows):
        sys.exit(1)


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants")
    return parser.parse_args()


if __name__ == "__main__":
    main()
