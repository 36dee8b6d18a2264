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


def place(name: str, text: str) -> re.Match[str]:
    """Where the table of a part stands in a file. Raises InputError where its marks are missing."""
    found = re.search(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", text, re.DOTALL)
    if not found:
        raise InputError(f"--write: the marks of {name} are missing; take a copy of BENCHMARKS.md")
    return found


def main() -> None:
    """Runs what is asked for."""
    parser = pairs.parser(__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument("--peer", type=Path, help="path of diffusers' train_text_to_image.py")
    parser.add_argument("--write", type=Path, help="a Markdown file with the marks of the parts")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"{unknown[0]!r} is unknown: choose among {', '.join(PARTS)}")
    if options.peer and not options.peer.is_file():
        parser.error(f"--peer {options.peer}: no such file")
    parts = options.parts or [name for name in PARTS if options.peer or name != "training_speed"]
    if "training_speed" in parts and not options.peer:
        parser.error("training_speed needs --peer: the path of diffusers' train_text_to_image.py")
    if options.write:
        if not options.write.is_file():
            parser.error(f"--write {options.write}: no such file")
        for name in parts:
            place(name, options.write.read_text("utf-8"))
    for name in parts:
        command = [
            sys.executable,
            str(Path(__file__).with_name(f"{name}.py")),
            f"--runs={options.runs}",
        ]
        command += [f"--peer={options.peer}"] if name == "training_speed" else []
        command += (
            [f"--figure={project_root() / 'figures' / 'benchmarks'}"]
            if name == "growth" and options.write
            else []
        )
        print(f"running {name}", file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise InputError(f"{name}: ended with code {done.returncode}; see above")
        print(f"## {name}\n\n{done.stdout}", flush=True)
        if options.write:
            text = options.write.read_text("utf-8")
            found = place(name, text)
            store.write_atomic(
                options.write, text[: found.start()] + f"\n{done.stdout}\n" + text[found.end() :]
            )


if __name__ == "__main__":
    pairs.run_script(main)
