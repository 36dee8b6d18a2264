"""How often a reader study of 4, 8 or 12 readers comes to a verdict, simulated: `python benchmarks/reader_power.py`.

Prints the table of docs/readers.md: of 500 simulated studies, how many say "equivalent" to readers who guess, how many
wrongly say so exactly at the margin, and how many say "told apart" of readers who are right in about 73% of pairs.
"""

from __future__ import annotations

import argparse

import numpy as np

from medisyn_lib.reader_study import analysis, planted_skill, power

READERS = (4, 8, 12)
MARGIN = 0.1
SPREADS = {"alike": 0.1, "differing": 0.3}  # of d' over readers: 3 and 8 points of accuracy
GUESSING, AT_THE_MARGIN, SKILLED = 0.0, 0.39, 1.0  # d'


def verdicts(right: np.ndarray, margin: float, word: str, *, random: bool) -> float:
    """Return the proportion of studies, right bool (studies, readers, pairs), that come to a verdict."""
    found = [analysis.equivalence(study, margin, random=random) for study in right]
    return found.count(word) / len(found)


def row(readers: int, spread: str, studies: int, seed: int, *, random: bool) -> str:
    """Return one line of the table."""
    pairs = power.pairs_needed(MARGIN, max(readers, 5) if random else readers) or 0
    rng = np.random.default_rng([seed, readers, random])
    cells = [str(readers), "random" if random else "fixed", spread, str(pairs)]
    for skill, word in (
        (GUESSING, "equivalent"),
        (AT_THE_MARGIN, "equivalent"),
        (SKILLED, "told apart"),
    ):
        made = planted_skill.simulate_studies(
            studies, readers, skill, rng, pairs=pairs, reader_spread=SPREADS[spread]
        )
        margin = made.planted_accuracy - 0.5 if skill == AT_THE_MARGIN else MARGIN
        cells.append(f"{verdicts(made.correct, margin, word, random=random):.0%}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| readers | analysed as | readers are | pairs each | guessing: equivalent |", end=" ")
    print("at the margin: equivalent | d' = 1: told apart |")
    print("|---|---|---|---|---|---|---|")
    for readers in READERS:
        for random in (False, True) if readers < 5 else (True,):
            for spread in SPREADS:
                print(
                    row(readers, spread, options.studies, options.seed, random=random), flush=True
                )


if __name__ == "__main__":
    main()
