"""What ten times the modalities cost: their captions, and nothing else.

    python benchmarks/more_modalities.py [--runs 5] [--times 10]

Every modality of the table stands there `--times` times, under names of its own ("CT 7"), in all captions that the
table makes. Learns a tokenizer from them and embeds them, in turns with those of the table as it is; then trains the
profile's denoiser on made-up latents with so many captions, in two processes that go on in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import growth
import pairs

ROWS = 10_000  # training images, the same on both sides


def captions(times: int) -> list[str]:
    """All captions without attributes of the table's modalities, each of them standing there so many times."""
    from medisyn_lib.modalities import MODALITIES, TEMPLATES

    turns = [f" {turn}" if turn else "" for turn in range(times)]
    named = [
        (f"{name}{turn}", f)
        for turn in turns
        for row in MODALITIES.values()
        for name in row.names
        for f in row.findings
    ]
    return [
        template.format(name=name, finding=finding.name)
        for name, finding in named
        for template in TEMPLATES
    ]


def main() -> None:
    """Measures and prints one table."""
    options = arguments()
    from medisyn_lib.models import networks
    from medisyn_lib.models.tokens import learn_tokenizer
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.training.text_encoder import embed_prompts

    sides = {"1": captions(1), str(options.times): captions(options.times)}
    learnt = {name: learn_tokenizer(words) for name, words in sides.items()}
    encoders = {
        name: networks.text_encoder(len(made), bos=made.bos_token_id, eos=made.eos_token_id).eval()
        for name, made in learnt.items()
    }
    work: dict[str, Callable[[str], Any]] = {
        "to learn a tokenizer, processor seconds": lambda name: learn_tokenizer(sides[name]),
        "to embed the captions, processor seconds": lambda name: embed_prompts(
            learnt[name], encoders[name], sides[name]
        ),
    }
    rows: dict[str, list[list[float]]] = {
        "captions": [[float(len(words))] for words in sides.values()],
        "tokens learnt": [[float(len(made))] for made in learnt.values()],
        "their embeddings, MB": [
            [len(x) * networks.CONTEXT * TEXT_WIDTH * 2 / 1e6] for x in sides.values()
        ],
    }
    for what, do in work.items():
        turns = {name: lambda name=name, do=do: growth.took(lambda: do(name)) for name in sides}
        rows[what] = list(pairs.interleaved(turns, options.runs).values())
    trained = growth.steps(options, {name: (ROWS, len(words)) for name, words in sides.items()})
    for unit, what in (
        ("step", f"a step of training, {pairs.unit()}s"),
        ("anonymous", "its own memory, GB"),
    ):
        rows[what] = [[one[unit] for one in runs] for runs in trained.values()]
    head = [f"profile {options.profile}", "10 modalities", f"{10 * options.times}", "ratio"]
    print(
        pairs.table(
            head,
            [
                [k, *map(pairs.spread, v), pairs.spread(pairs.ratios(*v[::-1]))]
                for k, v in rows.items()
            ],
        )
    )
    print(f"\n{pairs.machine(options.runs)}")


def arguments() -> Any:
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--times", type=pairs.whole(2, 100), default=10)
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
