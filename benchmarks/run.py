"""All benchmarks of this folder, one after the other, and their tables: the one command behind BENCHMARKS.md.

    python benchmarks/run.py [sampling_speed training_speed whole_runs growth more_modalities cost_model]
        [--runs 5] [--peer train_text_to_image.py] [--write BENCHMARKS.md]

Prints each table as it comes; `--write` also puts it between the marks of its name in a Markdown file, and `growth`'s
figure into figures/benchmarks. `training_speed` needs `--peer` (its own --help says where from), and is left out
without one. Threads are those of OMP_NUM_THREADS; on a machine that others use, set it to 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pairs

from medisyn_lib.errors import InputError
from medisyn_lib.runtime import store
from medisyn_lib.runtime.paths import project_root

PARTS = (
    "sampling_speed",
    "training_speed",
    "whole_runs",
    "growth",
    "more_modalities",
    "cost_model",
)
WITH_PEER = "training_speed"
WITH_FIGURE = "growth"


def place(name: str, text: str) -> re.Match[str]:
    """Find where the table of a part stands in a file. Raises InputError where its marks are missing."""
    found = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", text, re.DOTALL)
    if not found:
        raise InputError(f"--write: the marks of {name} are missing; take a copy of BENCHMARKS.md")
    return found


def write_table(page: Path, name: str, table: str) -> None:
    """Put a part's table between its marks in a Markdown file."""
    text = page.read_text("utf-8")
    marked = place(name, text)
    before, after = text[: marked.start()], text[marked.end() :]
    store.write_atomic(page, f"{before}\n{table}\n{after}")


def run_part(name: str, options: Any) -> str:
    """Run one part and return its table. Raises InputError where it fails."""
    script = Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, str(script), f"--runs={options.runs}"]
    if name == WITH_PEER:
        command.append(f"--peer={options.peer}")
    if name == WITH_FIGURE and options.write:
        command.append(f"--figure={project_root() / 'figures' / 'benchmarks'}")
    print(f"running {name}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{name}: ended with code {done.returncode}; see above")
    return done.stdout


def main() -> None:
    """Run what is asked for."""
    options = arguments()
    for name in options.parts:
        table = run_part(name, options)
        print(f"## {name}\n\n{table}", flush=True)
        if options.write:
            write_table(options.write, name, table)


def arguments() -> Any:
    """Return what the command line asks for, checked before long work."""
    parser = pairs.parser(__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--peer", type=Path, help="path of diffusers' train_text_to_image.py")
    parser.add_argument("--write", type=Path, help="a Markdown file with the marks of the parts")
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"{name!r} is unknown: choose among {', '.join(PARTS)}")
    for option in ("peer", "write"):
        path = getattr(options, option)
        if path and not path.is_file():
            parser.error(f"--{option} {path}: no such file")
    if not options.parts:
        options.parts = [name for name in PARTS if options.peer or name != WITH_PEER]
    if WITH_PEER in options.parts and not options.peer:
        parser.error(f"{WITH_PEER} needs --peer: the path of diffusers' train_text_to_image.py")
    if options.write:
        text = options.write.read_text("utf-8")
        for name in options.parts:
            place(name, text)
    return options


if __name__ == "__main__":
    pairs.run_script(main)
