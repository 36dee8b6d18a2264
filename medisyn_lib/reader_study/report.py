"""The report of a reader study: what its answers show, in words, a table and figures."""

from __future__ import annotations

from pathlib import Path

from medisyn_lib.reader_study import analysis, answers
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw
from medisyn_lib.runtime import store


def report(folder: Path) -> str:
    """Analyse the answers in a study's folder, write table and figures to `analysis/`; return it in words.

    Raises InputError as `answers.read` does.
    """
    key = answers.load(folder / answers.KEY)
    table = answers.read(folder)
    findings = analysis.analyse(table)
    right = analysis.grid(table, "right", "pair")
    n_readers, n_pairs = right.shape
    size = f"{n_readers} of {len(key['readers'])} readers, {n_pairs} pairs, 95% intervals"
    title = f"Reader study {key['study']} ({size})"
    for name, rows in analysis.figure_tables(findings, title).items():
        draw(FIGURES[name], rows, folder / "analysis")
    store.write_atomic(folder / "analysis" / "analysis.csv", findings.to_csv(index=False))
    points = 100 * key["margin"]
    verdict = analysis.equivalence(right, key["margin"])
    return "\n".join(
        [
            title,
            findings.round(3).to_string(index=False, na_rep="-"),
            f"against 50% plus or minus {points:g} points: {verdict}",
        ]
    )
