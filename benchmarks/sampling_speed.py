"""Images a second of this project's sampling beside a default StableDiffusionPipeline call, and how good both are.

    python benchmarks/sampling_speed.py [--profile quick] [--data phantom] [--images 200] [--steps 10 8]

Both draw with the same weights: the default call as released takes 50 steps, guidance 7.5 and one prompt a call; ours
takes the generator's own sampling.json in batches. The distances to held-out images (n images, one for each caption)
are measured once; the default settings are drawn in batches for it, which changes their speed and not their images.
Further rows try other numbers of steps, and guidance that stops before the end (Kynkaanniemi et al., arXiv 2404.07724).
Trains the generator first where the store holds none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pairs

DEFAULT = {"num_inference_steps": 50, "guidance_scale": 7.5}  # of StableDiffusionPipeline.__call__
NAMES = {
    "default": "StableDiffusionPipeline as released: 50 steps, guidance 7.5, one a call",
    "own": "the generator's own: {num_inference_steps} steps, guidance {guidance_scale:g}",
}
CALLS = 2  # prompts of the default side in a round, one a call
BATCH = 16  # images of ours in a round


def guided_until(share: float, steps: int) -> dict[str, Any]:
    """Arguments of a call that is guided for the first `share` of its steps only."""

    def stop(pipeline: Any, step: int, _time: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        if step + 1 == round(share * steps):
            pipeline._guidance_scale = 1.0
            inputs["prompt_embeds"] = inputs["prompt_embeds"].chunk(2)[1]
        return inputs

    return {
        "callback_on_step_end": stop,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }


def variants(own: dict[str, Any], steps: list[int]) -> dict[str, dict[str, Any]]:
    """The calls that are compared with the default one, by name."""
    number = own["num_inference_steps"]
    others = {
        f"{n} steps, else its own": own | {"num_inference_steps": n} for n in steps if n != number
    }
    return {
        "own": own,
        **others,
        "its own, guided in the first half": own | guided_until(0.5, number),
    }


def rate(draw: Callable[[], Any], images: int) -> float:
    """Images a second of one go (`pairs.spent`)."""
    start = pairs.spent()
    draw()
    return images / (pairs.spent() - start)


def main() -> None:
    """Measures rates in turn, then distances, and prints a table."""
    options = arguments()
    from diffusers import StableDiffusionPipeline

    from medisyn_lib.data import sources
    from medisyn_lib.data.pixels import load_pixels
    from medisyn_lib.evaluation.fidelity import kernel_distance, measures
    from medisyn_lib.models import encoders
    from medisyn_lib.pipeline.generators import generator_entry
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.runtime.device import accelerator
    from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings
    from medisyn_lib.statistics.estimates import student
    from medisyn_lib.statistics.noninferiority import contrast

    sources.preflight(options.data)
    study = Study(options.profile, options.data)
    folder = str(generator_entry(study))
    pipeline, released = load_pipeline(folder), StableDiffusionPipeline.from_pretrained(folder)
    released.set_progress_bar_config(disable=True)
    released.to(accelerator().device)
    asked = study.images("test")
    captions, calls = list(asked["caption"][:]), variants(sampling_settings(folder), options.steps)
    mixed = [captions[i] for i in np.random.default_rng(0).permutation(len(captions))]

    def default() -> None:
        for prompt in mixed[:CALLS]:
            released(prompt)

    def ours(call: dict[str, Any]) -> Callable[[], float]:
        return lambda: rate(
            lambda: sample_images(pipeline, mixed[:BATCH], range(BATCH), batch=BATCH, **call), BATCH
        )

    released(mixed[0], num_inference_steps=2)  # the first calls are slower
    ours(calls["own"] | {"num_inference_steps": 2})()
    sides = {name: ours(call) for name, call in calls.items()}
    found = pairs.interleaved({"default": lambda: rate(default, CALLS), **sides}, options.runs)

    rows = np.arange(0, len(captions), max(1, len(captions) // options.images))[: options.images]
    some, people = asked.select(rows), np.array(asked["patient_id"][:])[rows]
    real = encoders.features(load_pixels(some))
    sets = {
        name: encoders.features(images(folder, asked, rows, call))
        for name, call in {"default": DEFAULT, **calls}.items()
    }
    lines = []
    for name, rates in found.items():
        distance = measures(real=real, synthetic=sets[name], clusters=people)
        words = [
            estimate(distance[f"{kind}_efflite0"], scale)
            for kind, scale in (("FD", 1), ("KID", 1000))
        ]
        three = [(real, sets[name], sets["default"])]
        values, variance, freedom, n = contrast(kernel_distance, three, [people])
        times, beside = ("1", "") if name == "default" else (
            pairs.spread(pairs.ratios(rates, found["default"])), estimate(student(values[0], variance, freedom, n), 1)
        )  # fmt: skip
        lines.append(
            [
                NAMES.get(name, name).format(**calls["own"]),
                pairs.spread(rates),
                times,
                *words,
                beside,
            ]
        )
    head = [
        "call",
        f"images a {pairs.unit()}",
        "times the default",
        "FD_efflite0",
        "KID_efflite0 x 1000",
    ]
    print(pairs.table([*head, "log-ratio of KID to the default's (below 0: nearer)"], lines))
    print(
        f"\nProfile {options.profile}, {options.data}; distances of {len(rows)} images to as many held-out ones, 95% "
        f"intervals by patient. Ours in batches of {BATCH}; {CALLS} calls of the default a round."
    )
    print(f"\n{pairs.machine(options.runs)}")


def images(folder: str, asked: Any, rows: np.ndarray, call: dict[str, Any]) -> np.ndarray:
    """Images of the captions of some rows, whose numbers are their seeds; kept in the store where a call is plain."""
    from medisyn_lib.pipeline.samples import load_samples, samples_entry
    from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings

    captions = asked["caption"][:]
    if call == sampling_settings(folder):
        return load_samples(samples_entry(folder, captions))[rows]  # as notebook 01 draws them
    prompts, seeds = [captions[row] for row in rows], rows.tolist()
    if "callback_on_step_end" in call:
        return sample_images(load_pipeline(folder), prompts, seeds, **call)
    return load_samples(samples_entry(folder, prompts, seeds=seeds, **call))


def estimate(found: Any, scale: float) -> str:
    """A value with its interval."""
    if found.ci_low is None:
        return f"{scale * found.value:.3g} (no interval)"
    return f"{scale * found.value:.3g} ({scale * found.ci_low:.3g} to {scale * found.ci_high:.3g})"


def arguments() -> Any:
    """What the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--data", default="phantom", help="a data source")
    parser.add_argument(
        "--images", type=pairs.whole(100), default=200, help="of each side, for the distances"
    )
    parser.add_argument(
        "--steps", type=pairs.whole(2, 1000), nargs="+", default=[10, 8], help="also tried"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
