"""Images a second of this project's sampling beside a default StableDiffusionPipeline call, and how good both are.

    python benchmarks/sampling_speed.py [--profile quick] [--data phantom] [--images 200] [--steps 10 8]

Both sample with the same weights: the default call as released takes 50 steps, guidance 7.5 and one prompt a call; ours
takes the generator's own sampling.json in batches. The distances to held-out images (n images, one for each caption)
are measured once; the default settings are sampled in batches for it, which changes their speed and not their images.
Further rows try other numbers of steps, and guidance that stops before the end (Kynkaanniemi et al., arXiv 2404.07724).
Trains the generator first where the store holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pairs

if TYPE_CHECKING:
    import datasets

    from medisyn_lib.models.encoders import FeatureSet
    from medisyn_lib.statistics.estimates import Estimate

Call = dict[str, Any]  # arguments of a pipeline's call

DEFAULT: Call = {"num_inference_steps": 50, "guidance_scale": 7.5}  # of StableDiffusionPipeline
NAMES = {
    "default": "StableDiffusionPipeline as released: 50 steps, guidance 7.5, one a call",
    "own": "the generator's own: {num_inference_steps} steps, guidance {guidance_scale:g}",
}
CALLS = 2  # prompts of the default call in a round, one a call
BATCH = 16  # images of ours in a round


class Judged(NamedTuple):
    """The held-out images that all calls are judged by."""

    rows: np.ndarray  # of the test images
    patients: np.ndarray
    real: FeatureSet


def guided_until(fraction: float, steps: int) -> Call:
    """Return arguments of a call that is guided for the first `fraction` of its steps only."""

    def stop(pipeline: Any, step: int, _time: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        if step + 1 == round(fraction * steps):
            pipeline._guidance_scale = 1.0
            inputs["prompt_embeds"] = inputs["prompt_embeds"].chunk(2)[1]
        return inputs

    return {
        "callback_on_step_end": stop,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }


def calls_compared(own: Call, steps: Sequence[int]) -> dict[str, Call]:
    """Return the calls that are compared with the default one, by name."""
    own_steps = own["num_inference_steps"]
    calls = {"own": own}
    for number in steps:
        if number != own_steps:
            calls[f"{number} steps, else its own"] = own | {"num_inference_steps": number}
    calls["its own, guided in the first half"] = own | guided_until(0.5, own_steps)
    return calls


def main() -> None:
    """Measure rates in turn, then distances, and print a table."""
    options = arguments()
    from medisyn_lib.data import sources
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.sampling.pipeline import sampling_settings

    sources.preflight(options.data)
    study = Study(options.profile, options.data)
    folder = str(study.generator().folder)
    images = study.images("test")
    calls = calls_compared(sampling_settings(folder), options.steps)
    rates = sampling_rates(folder, list(images["caption"][:]), calls, options.runs)
    judged = choose_judged(images, options.images)
    synthetic = {
        name: features_of_call(folder, images, judged.rows, call)
        for name, call in {"default": DEFAULT, **calls}.items()
    }
    report(options, rates, judged, synthetic, calls["own"])


def sampling_rates(
    folder: str, captions: list[str], calls: Mapping[str, Call], runs: int
) -> dict[str, list[float]]:
    """Return images a second (`pairs.clock`) of the default call and of each of `calls`, round by round."""
    from diffusers import StableDiffusionPipeline

    from medisyn_lib.runtime.device import accelerator
    from medisyn_lib.sampling.pipeline import load_pipeline, sample_images

    released = StableDiffusionPipeline.from_pretrained(folder)
    released.set_progress_bar_config(disable=True)
    released.to(accelerator().device)
    pipeline = load_pipeline(folder)
    prompts = np.random.default_rng(0).permutation(captions).tolist()

    def sample_by_default() -> None:
        for prompt in prompts[:CALLS]:
            released(prompt)

    def rate_of_ours(call: Call) -> float:
        batch = prompts[:BATCH]
        return BATCH / pairs.timed(
            lambda: sample_images(pipeline, batch, range(BATCH), batch=BATCH, **call)
        )

    few_steps = {"num_inference_steps": 2}
    released(prompts[0], **few_steps)  # the first calls are slower
    rate_of_ours(calls["own"] | few_steps)
    arms: dict[str, Callable[[], float]] = {
        "default": lambda: CALLS / pairs.timed(sample_by_default)
    }
    for name, call in calls.items():
        arms[name] = partial(rate_of_ours, call)
    return pairs.interleaved(arms, runs)


def choose_judged(images: datasets.Dataset, number: int) -> Judged:
    """Choose so many held-out images, spread evenly over all."""
    from medisyn_lib.data.pixels import load_pixels
    from medisyn_lib.models import encoders

    rows = np.arange(0, len(images), max(1, len(images) // number))[:number]
    real = encoders.features(load_pixels(images, rows))
    return Judged(rows, np.array(images["patient_id"][:])[rows], real)


def features_of_call(
    folder: str, images: datasets.Dataset, rows: np.ndarray, call: Call
) -> FeatureSet:
    """Return features of images of the captions of some rows, whose numbers are their seeds."""
    from medisyn_lib.models import encoders
    from medisyn_lib.pipeline.samples import sample_prompts
    from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings

    captions = images["caption"][:]
    prompts, seeds = [captions[row] for row in rows], rows.tolist()
    if call == sampling_settings(folder):
        samples = sample_prompts(folder, captions)[rows]  # as notebook 01 samples them
    elif "callback_on_step_end" in call:  # which no store can hold
        samples = sample_images(load_pipeline(folder), prompts, seeds, **call)
    else:
        samples = sample_prompts(folder, prompts, seeds=seeds, **call)
    return encoders.features(samples)


def report(
    options: Any,
    rates: Mapping[str, list[float]],
    judged: Judged,
    synthetic: Mapping[str, FeatureSet],
    own: Call,
) -> None:
    """Print the table."""
    rows = []
    for name, values in rates.items():
        row = [NAMES.get(name, name).format(**own), pairs.spread(values)]
        row.append(
            "1" if name == "default" else pairs.spread(pairs.ratios(values, rates["default"]))
        )
        row += distances(judged, synthetic[name])
        row.append("" if name == "default" else log_ratio(judged, synthetic, name))
        rows.append(row)
    head = [
        "call",
        f"images a {pairs.unit()}",
        "times the default",
        "FD_efflite0",
        "KID_efflite0 x 1000",
        "log-ratio of KID to the default's (below 0: nearer)",
    ]
    print(pairs.table(head, rows))
    print(
        f"\nProfile {options.profile}, {options.data}; distances of {len(judged.rows)} images to as "
        f"many held-out ones, 95% intervals by patient. Ours in batches of {BATCH}; {CALLS} calls "
        "of the default a round."
    )
    print(f"\n{pairs.machine(options.runs)}")


def distances(judged: Judged, synthetic: FeatureSet) -> list[str]:
    """Return FD and KID x 1000 of synthetic images, in words."""
    from medisyn_lib.evaluation.fidelity import measures

    found = measures(real=judged.real, synthetic=synthetic, clusters=judged.patients)
    return [in_words(found["FD_efflite0"]), in_words(found["KID_efflite0"], 1000)]


def log_ratio(judged: Judged, synthetic: Mapping[str, FeatureSet], name: str) -> str:
    """Return the log-ratio of a call's KID to that of the default call, in words."""
    from medisyn_lib.evaluation.fidelity import kernel_distance
    from medisyn_lib.statistics.noninferiority import (
        FeatureTriple,
        contrast,
        effect_of_one_seed,
    )

    triple = FeatureTriple(
        real=judged.real, candidate=synthetic[name], reference=synthetic["default"]
    )
    return in_words(effect_of_one_seed(contrast(kernel_distance, [triple], [judged.patients])))


def in_words(estimate: Estimate, scale: float = 1) -> str:
    """Return a value with its interval, times a scale."""
    value = f"{scale * estimate.value:.3g}"
    if estimate.ci_low is None:
        return f"{value} (no interval)"
    return f"{value} ({scale * estimate.ci_low:.3g} to {scale * estimate.ci_high:.3g})"


def arguments() -> Any:
    """Return what the command line asks for."""
    parser = pairs.parser(__doc__)
    pairs.add_study(parser)
    parser.add_argument(
        "--images", type=pairs.whole(100), default=200, help="of each call, for the distances"
    )
    parser.add_argument(
        "--steps", type=pairs.whole(2, 1000), nargs="+", default=[10, 8], help="also tried"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
