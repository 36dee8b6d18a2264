"""What ten times the modalities cost: their captions, and nothing else.

    python benchmarks/more_modalities.py [--runs 5] [--times 10]

Every modality of the table stands there `--times` times, under names of its own ("CT 7"), in all captions that the
table makes. Learns a tokenizer from them and embeds them, in turns with those of the table as it is; then trains the
profile's denoiser on made-up latents with so many captions, in two processes that go on in turn.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import growth
import pairs

ROWS = 10_000  # training images, the same in both arms


def captions(times: int) -> list[str]:
    """Return all captions without attributes of the table's modalities, each of which stands there so many times."""
    from medisyn_lib.modalities import MODALITIES, TEMPLATES

    texts = []
    for turn in range(times):
        suffix = f" {turn}" if turn else ""
        for modality in MODALITIES.values():
            for name in modality.names:
                for finding in modality.findings:
                    texts += [
                        template.format(name=f"{name}{suffix}", finding=finding.name)
                        for template in TEMPLATES
                    ]
    return texts


def main() -> None:
    """Measure and print one table."""
    options = arguments()
    arms = {"1": captions(1), str(options.times): captions(options.times)}
    rows = caption_rounds(arms, options.runs)
    sizes = {name: growth.DataSize(ROWS, len(texts)) for name, texts in arms.items()}
    trained = growth.training_rounds(options, sizes)
    rows[f"a step of training, {pairs.unit()}s"] = [
        [one["step"] for one in trained[name]] for name in arms
    ]
    rows["its own memory, GB"] = [[one["anonymous"] for one in trained[name]] for name in arms]
    head = [f"profile {options.profile}", "10 modalities", f"{10 * options.times}", "ratio"]
    lines = []
    for words, (few, many) in rows.items():
        lines.append([words, *map(pairs.spread, (few, many, pairs.ratios(many, few)))])
    print(pairs.table(head, lines))
    print(f"\n{pairs.machine(options.runs)}")


def caption_rounds(arms: dict[str, list[str]], runs: int) -> dict[str, list[list[float]]]:
    """Return what the captions of each arm take: their number and size, and seconds round by round."""
    from medisyn_lib.models import networks
    from medisyn_lib.models.tokens import learn_tokenizer
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.training.text_encoder import embed_prompts

    tokenizers = {name: learn_tokenizer(texts) for name, texts in arms.items()}
    encoders = {}
    for name, tokenizer in tokenizers.items():
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        encoders[name] = networks.text_encoder(len(tokenizer), bos=bos, eos=eos).eval()

    def learn(name: str) -> float:
        return pairs.timed(lambda: learn_tokenizer(arms[name]))

    def embed(name: str) -> float:
        return pairs.timed(lambda: embed_prompts(tokenizers[name], encoders[name], arms[name]))

    megabytes_of_one = networks.CONTEXT * TEXT_WIDTH * 2 / 1e6  # float16
    learning = pairs.interleaved({name: partial(learn, name) for name in arms}, runs)
    embedding = pairs.interleaved({name: partial(embed, name) for name in arms}, runs)
    return {
        "captions": [[float(len(texts))] for texts in arms.values()],
        "tokens learnt": [[float(len(tokenizer))] for tokenizer in tokenizers.values()],
        "their embeddings, MB": [[len(texts) * megabytes_of_one] for texts in arms.values()],
        "to learn a tokenizer, processor seconds": list(learning.values()),
        "to embed the captions, processor seconds": list(embedding.values()),
    }


def arguments() -> Any:
    """Return what the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--times", type=pairs.whole(2, 100), default=10)
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
