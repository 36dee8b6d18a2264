"""The `medisyn` command. It checks what it is given before it imports anything heavy.

Exit codes: 0 done; 1 two runs differ, or an audited claim's rule is broken; 2 bad input; 3 an audited claim could
not be tested; 4 a notebook or something internal failed.
"""

import argparse
import contextlib
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from medisyn_lib.claims.results import read_result
from medisyn_lib.cli import batch
from medisyn_lib.errors import InputError
from medisyn_lib.reporting import audit, compare
from medisyn_lib.runtime.paths import from_root, from_shell, project_root, resolve_out
from medisyn_lib.runtime.provenance import run_name
from medisyn_lib.runtime.store import creatable, preflight_store, write_atomic

PROMPT_LIMIT = 2000  # characters
GENERATOR = "model_index.json", "metadata.csv"  # one of them lies in a generator's folder
HUB_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of argparse's usage and exit."""
        raise InputError(f"{message} (see `{self.prog} --help`)")


def parser() -> argparse.ArgumentParser:
    """The command line: one sub-command a verb of `cli.toml`, each naming the function that does it."""
    top = _Parser(
        prog="medisyn",
        description="Reproduce, use and check the MediSyn companion. Not for clinical use.",
    )
    groups: dict[str, Any] = {"": top.add_subparsers(required=True, metavar="COMMAND")}
    for name, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items():
        group, _, word = name.rpartition(" ")
        verb = groups[group].add_parser(word, help=row["help"])
        arguments = row.get("arguments", {})
        ranges = {
            argument: how.pop("range") for argument, how in arguments.items() if "range" in how
        }
        verb.set_defaults(do=VERBS.get(name), ranges=ranges)
        for argument, how in arguments.items():
            verb.add_argument(
                argument,
                **how if "action" in how else how | {"type": TYPES[how.get("type", "text")]},
            )
        if "metavar" in row:
            groups[name] = verb.add_subparsers(required=True, metavar=row["metavar"])
    return top


def _reproduce(given: argparse.Namespace) -> int:
    from medisyn_lib.data import sources

    batch.select(given.names)
    generator = given.generator and _model(given.generator, "--generator", *GENERATOR)
    if Path(generator).is_absolute():
        generator = from_root(generator)
    out = (
        resolve_out(f"build/{run_name(given.profile, given.data)}")
        if given.out is None
        else _out(given.out)
    )
    given.out = str(out)
    preflight_store()
    sources.preflight(given.data)
    run: dict[str, Any] = {
        "profile": given.profile,
        "data": given.data,
        "generator": generator,
        "out": out,
    }
    run |= {"jobs": given.jobs} | ({"seed": given.seed} if getattr(given, "seed", 0) else {})
    outcomes = batch.reproduce(given.names, **run)
    print(f"written to {out}")
    return max((2 if o.bad_input else 4 for o in outcomes if o.error), default=0)


def _audit(given: argparse.Namespace) -> int:
    """Judges someone's generator by the claims' notebooks: a sentence each on what came out, one code, one report."""
    generator = _model(given.generator, "--generator", *GENERATOR)
    finished = Path(generator).is_dir() and not Path(generator, GENERATOR[0]).is_file()
    left = audit.choose(given.claims, ["finished"] * finished + ["seed"] * bool(given.seed))
    given.names = [audit.CLAIMS[name] for name, why in left.items() if not why]
    failed, out, results = _reproduce(given), Path(given.out), {}
    for name, notebook in audit.CLAIMS.items():
        path = out / "results" / f"{notebook}.json"
        if left[name] or not path.is_file():
            left[name] = left[name] or f"failed, see notebooks/{notebook}.failed.log"
            print(f"{name}: not tested: {left[name]}")
        else:
            results[name] = read_result(path)
            print(f"{name}: {audit.sentence(results[name])}")
    if results:
        print(f"report in {audit.write_report(out, generator, finished, results, left)}")
    codes = [audit.TABLE["verdicts"][result.verdict][0] for result in results.values()]
    return failed or (1 if 1 in codes else max(codes))


def _generate(given: argparse.Namespace) -> None:
    from medisyn_lib.data.rows import check_text

    check_text(given.prompt, "--prompt")  # metadata.csv, which holds it, may be opened as a sheet
    if not given.prompt.isprintable():  # nor may it turn the direction of what is written after it
        raise InputError("--prompt holds control characters: write plain text on one line")
    if len(given.prompt) > PROMPT_LIMIT:
        raise InputError(
            f"--prompt has {len(given.prompt)} characters: shorten it to {PROMPT_LIMIT}"
        )
    model, out = _model(given.model, "--model", "model_index.json"), _out(given.out)
    from medisyn_lib.sampling.pipeline import generate

    paths = generate(model, given.prompt, given.n, given.seed, out)
    print(f"{len(paths)} synthetic images written to {out}")


def _train(given: argparse.Namespace) -> None:
    """Trains what notebook 02 compares; under `accelerate launch -m medisyn_lib.cli train` on all its processes."""
    from medisyn_lib.data import sources
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.pipeline.suite import suite
    from medisyn_lib.runtime import distributed
    from medisyn_lib.runtime.device import accelerator

    preflight_store()
    sources.preflight(given.data)
    accelerator().print(*suite(Study(given.profile, given.data)), sep="\n")
    distributed.end()


def _figures(given: argparse.Namespace) -> None:
    from medisyn_lib.reporting.gallery import redraw

    print(
        *redraw(from_shell(given.results or project_root() / "figures"), given.jobs, pdf=given.pdf),
        sep="\n",
    )


def _data(given: argparse.Namespace) -> None:
    from medisyn_lib.data import check, sources

    if (source := getattr(given, "source", None)) is not None:
        sources.preflight(source)
    rows = (
        check.check_source(source)
        if source
        else [{"kind": kind, "help": row.help} for kind, row in sources.KINDS.items()]
    )
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def _card(given: argparse.Namespace) -> None:
    from medisyn_lib.data import cards
    from medisyn_lib.data.sources import preflight

    preflight(given.source)
    print(cards.draft(given.source), end="")


def _readers_new(given: argparse.Namespace) -> None:
    model, out = _model(given.generator, "--generator", *GENERATOR), _out(given.out)
    if (out / "key.json").exists():
        raise InputError(f"--out {given.out!r}: holds a reader study already; give another folder")
    preflight_store()
    from medisyn_lib.data import sources
    from medisyn_lib.reader_study import analysis, kit

    sources.preflight(given.data)
    readers, margin = given.readers, given.margin / 100
    if not (pairs := given.pairs or analysis.pairs_needed(margin, readers)):
        raise InputError(
            f"--margin {given.margin:g}: too small for {readers} readers; take more or give --pairs"
        )
    print(
        kit.new(
            model,
            given.data,
            out,
            readers=readers,
            pairs=max(pairs, 12),
            margin=margin,
            seed=given.seed,
        )
    )
    print(
        f"one page a reader in {out / 'pages'}; keep key.json to yourself; how to go on stands in PROTOCOL.md"
    )


def _readers_analyse(given: argparse.Namespace) -> None:
    from medisyn_lib.reader_study import analysis

    _out(str(given.folder / "analysis"), "folder")
    print(analysis.report(given.folder))


def _diff(given: argparse.Namespace) -> int:
    lines = compare.compare(given.a, given.b)
    print("\n".join(lines) or "the same within tolerances")
    return 1 if lines else 0


def _profile(text: str) -> str:
    from medisyn_lib.profiles import PROFILES

    if text not in PROFILES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is unknown: choose one of {', '.join(PROFILES)}"
        )
    return text


def _source(text: str) -> str:
    """A data source whose folder, relative to where the shell stands, is written from the project's root."""
    kind, _, rest = text.partition(":")
    return f"{kind}:{from_root(rest)}" if kind in ("npz", "folder") and rest else text


def _model(text: str, option: str, *marks: str) -> str:
    """An absolute folder that holds one of the files `marks`, or a hub id as it is."""
    folder = from_shell(text)
    if text and folder.is_dir():
        if not any((folder / mark).is_file() for mark in marks):
            raise InputError(
                f"{option} {text!r}: has no {' or '.join(marks)}; name a diffusers pipeline folder"
            )
        index, settings = folder / GENERATOR[0], folder / "sampling.json"
        if (
            index.is_file()
            and "tokenizer" not in index.read_text("utf-8", "replace")
            and not settings.is_file()
        ):
            raise InputError(
                f"{option} {text!r}: takes no text; say in {settings.name} which `captions` mean a class"
            )
        return str(folder)
    if not re.fullmatch(HUB_ID, text):
        raise InputError(f"{option} {text!r}: no such folder, nor a hub id such as OWNER/NAME")
    return text


def _out(text: str, option: str = "--out") -> Path:
    if not text or not creatable(from_shell(text)):
        raise InputError(f"{option} {text!r}: cannot be written; give a folder that can")
    return from_shell(text)


VERBS: dict[str, Callable] = {
    "reproduce": _reproduce,
    "audit": _audit,
    "train": _train,
    "generate": _generate,
}
VERBS |= {
    "figures": _figures,
    "diff": _diff,
    "data list": _data,
    "data check": _data,
    "data card": _card,
}
VERBS |= {"readers new": _readers_new, "readers analyse": _readers_analyse}
TYPES = {
    "text": str,
    "int": int,
    "float": float,
    "path": from_shell,
    "source": _source,
    "profile": _profile,
}


def _one_line(words: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(words)).split())


def _report(error: Exception, given: argparse.Namespace) -> str:
    """The one line of an unforeseen error, having kept its traceback where there is a folder for it."""
    line = f"{type(error).__name__} {_one_line(error)[:300]}"
    if os.environ.get("MEDISYN_DEBUG") == "1":
        traceback.print_exception(error)
        return line
    if getattr(given, "out", None):
        log = from_shell(given.out) / "error.log"
        with contextlib.suppress(OSError):  # the disk may be what failed
            write_atomic(log, "".join(traceback.format_exception(error)))
            return f"{line} (traceback in {log})"
    return f"{line} (set MEDISYN_DEBUG=1 for the traceback)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; what went wrong is one line on stderr."""
    given = argparse.Namespace()
    try:
        given = parser().parse_args(arguments)
        for argument, (low, high) in given.ranges.items():
            if (
                value := getattr(given, argument.lstrip("-"))
            ) is not None and not low <= value <= high:
                raise InputError(f"{argument} is {value}: give a number from {low} to {high}")
        return given.do(given) or 0
    except InputError as error:
        code, said = 2, _one_line(error)
    except KeyboardInterrupt:
        code, said = 130, "interrupted; the same command goes on from what is stored"
    except Exception as error:
        code, said = 4, _report(error, given)
    print(f"medisyn: {said}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
