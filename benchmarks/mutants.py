"""Mutation testing: of a sample of small faults put into the library, how many do the unit tests notice?

    python benchmarks/mutants.py [--n 200] [--seed 0] [--out build/mutants]

A mutant is one change in one of the modules of ROOMS and MORE: a comparison, an operator of arithmetic or logic, a
constant, a returned value, the order of two arguments, a dropped `not`, `~` or sign. `--seed` samples them without
replacement from all there are, less those that are as the library is whatever is tested (`equal`). TESTS, less the
simulations of SPARED, run once under coverage; a mutant then meets those that execute its statement, the fastest
first, until one fails or SPENT seconds of them have passed. Everything happens in a temporary copy of the checkout.
What was found is kept under `--out`, by a hash of the library: a run that was stopped goes on from there, and after a
change of the tests alone those are met again that survived, or whose killer is gone. Prints the fraction killed with
Clopper and Pearson's interval and every survivor, with the reason that `mutants_kept.csv` beside this file states for
it; exit code 1 where fewer than FLOOR are killed.

mutmut 3 and cosmic-ray know more kinds of fault. The one has no sampling and leaves constants at module level alone;
the other runs one command for all modules and works inside the checkout.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = Path(__file__).with_name("mutants_kept.csv")
LIBRARY = ROOT / "medisyn_lib"
ROOMS = ("claims", "data", "evaluation", "statistics")  # all their modules, and MORE
MORE = ("reporting/compare",)
MODULES = [
    *(
        path.relative_to(LIBRARY).with_suffix("").as_posix()
        for room in ROOMS
        for path in sorted((LIBRARY / room).rglob("*.py"))
    ),
    *MORE,
]
TESTED = """
    agreement alignment attributes augmentation claims compare data data_sources fidelity graders memorization
    neighbours noninferiority quality reference_standards statistics
""".split()
TESTS = [f"tests/test_{name}.py" for name in TESTED]
# Simulations of how often a rule errs take most of the time, and more under coverage: mutants are spared them.
SPARED = " or ".join(
    """
    _cover rarely mostly keep_false is_the_spread calibration_reaches triple_the holds_its_level
    """.split()
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
LOADED = """
    torch scipy.stats scipy.spatial pandas statsmodels.api statsmodels.stats.inter_rater sklearn.linear_model
    sklearn.metrics sklearn.neighbors sklearn.decomposition datasets transformers diffusers PIL.Image torch_fidelity
    prdc pytest hypothesis
"""  # imported once for all mutants; nothing of this project

OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = (
    "module function text operator before after".split()
)  # of a mutant, wherever its line moves to
FIELDS = ["place", "turn", "line", *NAMES, "outcome", "test", "tests"]
COMMUTATIVE = {"min", "max", "minimum", "maximum"}
UNSEEN = {
    "strict",
    "frozen",
    "fused",
}  # keywords that forbid mistakes or save time, and change no number


@dataclass(frozen=True)
class Mutant:
    """One change: `place` is the node's turn in `ast.walk` of the module, `turn` the change's among the node's."""

    module: str
    place: int
    turn: int


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may be changed to, with the operator's name."""
    new = deepcopy(node)
    if isinstance(new, ast.Compare):
        for i, op in enumerate(new.ops):
            again = deepcopy(new)
            again.ops[i] = OTHER[type(op)]()
            yield "comparison", again
    elif isinstance(new, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(new.op) in OTHER:
        new.op = OTHER[type(new.op)]()
        yield "logic" if isinstance(new, ast.BoolOp) else "arithmetic", new
    elif isinstance(new, ast.UnaryOp):
        yield "dropped sign", new.operand
    elif isinstance(new, ast.Constant) and isinstance(new.value, bool | int | float):
        new.value = not new.value if isinstance(new.value, bool) else new.value + 1
        yield "constant", new
    elif isinstance(new, ast.Return) and new.value and ast.unparse(new.value) != "None":
        new.value = ast.Constant(None)
        yield "returned value", new
    elif (
        isinstance(new, ast.Call)
        and len(new.args) > 1
        and not any(isinstance(a, ast.Starred) for a in new.args[:2])
    ):
        new.args[:2] = new.args[1::-1]
        if ast.dump(new) != ast.dump(node):
            yield "arguments", new


def silent(tree: ast.Module) -> set[ast.AST]:
    """The nodes that no run can tell from others: annotations and what stands under `if TYPE_CHECKING`."""
    found: list[ast.AST | None] = []
    for node in ast.walk(tree):
        found += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        found += (
            node.body
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            else []
        )
    return {inner for outer in found if outer for inner in ast.walk(outer)}


def all_mutants(sources: dict[str, str]) -> list[Mutant]:
    """Every mutant of the modules, in a fixed order."""
    found = []
    for module, source in sources.items():
        tree = ast.parse(source)
        deaf = silent(tree)
        for place, node in enumerate(ast.walk(tree)):
            found += [
                Mutant(module, place, turn)
                for turn, _ in enumerate(changes(node))
                if node not in deaf
            ]
    return found


def equal(mutant: Mutant, source: str) -> bool:
    """Whether a mutant does as the library does, whatever is tested."""
    tree = ast.parse(source)
    old = list(ast.walk(tree))[mutant.place]
    if any(
        isinstance(n, ast.keyword) and n.arg in UNSEEN and n.value is old for n in ast.walk(tree)
    ):
        return True
    swapped = isinstance(old, ast.Call) and ast.unparse(old.func).rpartition(".")[2] in COMMUTATIVE
    return swapped and len(old.args) == 2


def sampled(sources: dict[str, str], n: int, seed: int) -> tuple[list[Mutant], int]:
    """`n` mutants, without replacement and without `equal` ones, and how many there are of all kinds."""
    found = all_mutants(sources)
    drawn = random.Random(seed).sample(found, min(n + n // 4, len(found)))  # noqa: S311  some are equal
    return [mutant for mutant in drawn if not equal(mutant, sources[mutant.module])][:n], len(found)


def applied(mutant: Mutant, source: str) -> tuple[str, dict[str, object], tuple[int, int]]:
    """The mutated source; NAMES and line of the change; the first and last line that show whether it is run."""
    tree = ast.parse(source)
    old = list(ast.walk(tree))[mutant.place]
    operator, new = list(changes(old))[mutant.turn]
    around = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and old in ast.walk(n)]
    functions = [n for n in around if isinstance(n, ast.FunctionDef)]
    inner = around[-1]  # `ast.walk` goes from outside to inside
    body = getattr(inner, "body", None)
    first, last = inner.lineno, (body[0].lineno - 1 if body else inner.end_lineno or inner.lineno)
    if isinstance(inner, ast.FunctionDef):  # a default: seen by who calls the function
        first, last = inner.body[0].lineno, inner.end_lineno or inner.lineno
    if not functions or isinstance(inner, ast.ClassDef):
        first, last = 1, len(source.splitlines())
    words = {
        "function": functions[-1].name if functions else "",
        "operator": operator,
        "line": inner.lineno,
    }
    words |= {"before": short(old), "after": short(new)}
    words["text"] = source.splitlines()[getattr(old, "lineno", inner.lineno) - 1].strip()

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is old else self.generic_visit(node)

    return (
        ast.unparse(ast.fix_missing_locations(Replace().visit(tree))),
        words,
        (first, max(first, last)),
    )


def short(node: ast.AST) -> str:
    """A node's text in one line."""
    return " ".join(ast.unparse(node).split())[:160]


def environment(copy: Path, store: Path) -> dict[str, str]:
    """What makes tests import the copy, keep nothing beside it, and use one thread."""
    return {
        "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "MEDISYN_STORE": str(store), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def run_tests(copy: Path, tests: Sequence[str], place: Path, limit: float) -> None:
    """In a process of its own: runs tests in the copy until one fails; the exit code is pytest's."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
    os.chdir(copy)
    os.environ.update(environment(copy, place / "store"))
    sys.path.insert(0, str(copy))
    with (place / "log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = (
        "1"  # none of the others is needed, and they take long to import
    )
    import pytest

    os._exit(
        pytest.main(
            ["-x", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-o", "addopts=", *tests]
        )
    )


def outcome(copy: Path, tests: Sequence[str], limit: float) -> tuple[str, str]:
    """Whether the tests notice what stands in the copy (killed, timeout, survived), and the first that does."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        arguments = (copy, tests, Path(place), limit)
        child = multiprocessing.get_context("forkserver").Process(target=run_tests, args=arguments)
        child.start()
        child.join(20 * limit)  # a busy machine is no reason
        if child.exitcode is None:
            os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()
        if child.exitcode in (-signal.SIGKILL, -signal.SIGXCPU):
            return "timeout", ""
        lines = (Path(place) / "log").read_text("utf-8", "replace").splitlines()
    said = [line.split(" ", 1)[1] for line in lines if line.startswith(("FAILED ", "ERROR "))] or [
        ""
    ]
    by = next((test for test in tests if f"{said[0]} ".startswith(f"{test} ")), said[0])
    return ("killed", by) if child.exitcode else ("survived", "")


def run_unit_tests(copy: Path, out: Path) -> None:
    """Runs the unit tests once: `out` holds who executes which line (`coverage`) and each test's seconds."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        *TESTS,
        "-k",
        f"not ({SPARED})",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    command += [
        "--cov",
        "--cov-report=",
        "--cov-context=test",
        f"--junitxml={out / 'tests.xml.tmp'}",
    ]
    with tempfile.TemporaryDirectory() as store:
        more = environment(copy, Path(store)) | {
            "COVERAGE_FILE": str(out / "coverage"),
            "COVERAGE_CORE": "ctrace",
        }
        if subprocess.run(command, cwd=copy, env=os.environ | more).returncode:
            sys.exit("mutants: the unit tests fail without any mutant; mend that first")
    (out / "tests.xml.tmp").rename(out / "tests.xml")


def seconds_of_tests(out: Path) -> dict[str, float]:
    """How long each unit test took, by its name to pytest."""
    cases = ElementTree.parse(out / "tests.xml").iter("testcase")  # noqa: S314  pytest wrote it
    return {
        f"{c.get('classname', '').replace('.', '/')}.py::{c.get('name')}": float(c.get("time", 0))
        for c in cases
    }


def who_runs(out: Path, module: str) -> dict[int, set[str]]:
    """The unit tests that execute each line of a module."""
    import coverage

    found = coverage.CoverageData(str(out / "coverage"))
    found.read()
    lines = found.contexts_by_lineno(f"medisyn_lib/{module}.py")
    return {
        line: {name.rpartition("|")[0] for name in names} - {""} for line, names in lines.items()
    }


def meets(mutant: Mutant, out: Path, copy: Path, passing: dict[str, bool]) -> dict[str, object]:
    """Puts a mutant into the copy, runs the tests that it meets, and takes it out again."""
    file = copy / "medisyn_lib" / f"{mutant.module}.py"
    source, seconds = file.read_text("utf-8"), seconds_of_tests(out)
    mutated, words, (first, last) = applied(mutant, source)
    lines = who_runs(out, mutant.module)
    names = set().union(*(lines.get(line, set()) for line in range(first, last + 1)))
    tests, spent = [], 0.0
    for name in sorted(names & seconds.keys(), key=lambda name: (seconds[name], name)):
        spent += seconds[name]
        if spent <= SPENT or not tests:
            tests.append(name)
    found, by = ("survived" if tests else "not run"), ""
    while tests:
        file.write_text(mutated, "utf-8")
        found, by = outcome(copy, tests, PATIENCE + 3 * spent)
        file.write_text(source, "utf-8")
        if (
            found == "killed" and by in tests and by not in passing
        ):  # a test that fails anyway would kill everything
            passing[by] = outcome(copy, [by], PATIENCE + 3 * spent)[0] == "survived"
        if passing.get(by, True):
            break
        tests.remove(by)
    return words | {"module": mutant.module, "outcome": found, "test": by}


def report(rows: Sequence[dict[str, str]]) -> bool:
    """Prints what survived and why, and the share killed with its interval; whether that share is high enough."""
    from statsmodels.stats.proportion import proportion_confint

    reasons = {
        tuple(row[c] for c in NAMES): row["reason"]
        for row in csv.DictReader(KEPT.open(encoding="utf-8"))
    }
    for row in rows:
        if row["outcome"] in ("survived", "not run"):
            print(
                f"{row['module']}.py:{row['line']} {row['function']}: {row['before']} -> {row['after']}"
            )
            print(
                f"    {row['outcome']}: {reasons.get(tuple(row[c] for c in NAMES), 'NO REASON GIVEN')}"
            )
    killed = sum(row["outcome"] in ("killed", "timeout") for row in rows)
    low, high = proportion_confint(killed, len(rows), method="beta")
    print(
        f"killed {killed} of {len(rows)} mutants: {killed / len(rows):.1%} (95% interval {low:.1%} to {high:.1%})"
    )
    return killed >= FLOOR * len(rows)


def stamp(paths: Sequence[Path]) -> str:
    """What files hold, in a few letters."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def meet_all(sample: Sequence[Mutant], copy: Path, kept: Path, out: Path) -> list[dict[str, str]]:
    """The outcome of each mutant: what `kept` says of it where that still holds, else by the tests of `out`."""
    if not kept.exists():
        kept.write_text(",".join(FIELDS) + "\n", "utf-8")
    known, there, passing = known_outcomes(kept), seconds_of_tests(out), dict[str, bool]()
    for number, mutant in enumerate(sample, 1):
        before = known.get(mutant, {})
        stays = (
            before.get("outcome") == "timeout"
            or before.get("test") in there
            or before.get("tests") == out.name
        )
        if before and stays:
            continue
        row = {"place": mutant.place, "turn": mutant.turn, "tests": out.name} | meets(
            mutant, out, copy, passing
        )
        with kept.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, FIELDS).writerow(row)
        print(
            f"{number:4} {row['outcome']:9} {row['module']}.py:{row['line']} {row['before']}",
            flush=True,
        )
    known = known_outcomes(kept)
    return [known[mutant] for mutant in sample]


def known_outcomes(kept: Path) -> dict[Mutant, dict[str, str]]:
    """The last row of each mutant in the file of outcomes."""
    rows = csv.DictReader(kept.open(encoding="utf-8"))
    return {Mutant(row["module"], int(row["place"]), int(row["turn"])): row for row in rows}


def main() -> int:
    """Samples mutants, runs what tests each meets, and reports."""
    parser = argparse.ArgumentParser(
        description="mutation testing of the library's measures, statistics and claims"
    )
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants")
    chosen = parser.parse_args()
    library = stamp(sorted(LIBRARY.rglob("*.py")))
    tests = stamp([ROOT / "pyproject.toml", *sorted((ROOT / "tests").glob("*.py"))])
    kept = chosen.out.resolve() / library / "outcomes.csv"
    out = kept.parent / tests
    out.mkdir(parents=True, exist_ok=True)
    sources = {name: (LIBRARY / f"{name}.py").read_text("utf-8") for name in MODULES}
    sample, number = sampled(sources, chosen.n, chosen.seed)
    print(
        f"{len(sample)} of {number} mutants of {len(MODULES)} modules; outcomes in {kept}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        if not (out / "tests.xml").exists():
            run_unit_tests(copy, out)
        multiprocessing.set_forkserver_preload(LOADED.split())
        rows = meet_all(sample, copy, kept, out)
    return 0 if report(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
