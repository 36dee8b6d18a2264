"""Images a second of this project's training beside diffusers' own text-to-image example, and where the time goes.

    python benchmarks/training_speed.py --peer train_text_to_image.py [--profile quick] [--runs 5] [--images N]
        [--workers N]

The peer is `examples/text_to_image/train_text_to_image.py` of github.com/huggingface/diffusers, as released: download
it (any recent tag) and pass its path; none of it is kept here. Both sides start from the same untrained denoiser, see
phantoms of the same role and size, take the same batch and precision (bfloat16 where the processor computes in it,
`--precision` says otherwise), and live in processes of their own that are held and let go in turn. The peer reads,
encodes and tokenizes its images at every step; ours has latents and embeddings computed once: the second ratio charges
it for that, spread over the passes that the profile makes. Rates are of processor seconds, which other jobs on the same
cores change little. The first steps of each side are left out.
Beside them the share of this machine's matrix peak (torch.matmul, measured in the same round) and a profile of a step.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pairs

from medisyn_lib.errors import InputError
from medisyn_lib.profiles import PROFILES

PEER = "diffusers' train_text_to_image"
IMAGES = 64  # a modality, of those that the peer is given
LEFT_OUT = 4  # first steps
MATRIX = 1024  # side of the matrices whose product is the peak; where bfloat16 is imitated, a quarter of it
KINDS = {  # of the profiler's operators: which part of a step they are
    "convolution": r"conv|mkldnn_convolution",
    "matrix product": r"::(addmm|mm|bmm|baddbmm|linear|matmul)",
    "attention": r"attention|softmax",
    "normalisation": r"norm(?!al_)",
    "activation": r"silu|sigmoid|gelu",
    "optimiser and averaging": r"adam|foreach|lerp|clip",
    "copies and layouts": r"copy_|clone|contiguous|cat|upsample|to_copy|empty|zero|fill",
    "sums and products": r"::(add|mul|div|sub|sum|mean|mse)",
}


def prepared(options: Any, folder: Path, each: int = IMAGES) -> dict[str, Any]:
    """What both sides train from: an untrained pipeline, images with captions; what encoding costs an image seen.

    Of each modality as many images as `each` says.
    """
    from medisyn_lib.data.pixels import load_pixels
    from medisyn_lib.models import networks
    from medisyn_lib.pipeline.denoisers import denoiser_plan, new_denoiser
    from medisyn_lib.pipeline.embeddings import text_entry
    from medisyn_lib.pipeline.generators import assemble
    from medisyn_lib.pipeline.latents import autoencoder_entry, load_autoencoder
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.runtime import store
    from medisyn_lib.runtime.device import accelerator
    from medisyn_lib.sampling.pipeline import load_pipeline, png
    from medisyn_lib.training.autoencoder import encode
    from medisyn_lib.training.text_encoder import embed_prompts

    study = Study(options.profile, options.data)
    stage, words = autoencoder_entry(study), text_entry(study)
    assemble(folder / "pipeline", stage, words, new_denoiser(study, 0), study)
    images = study.images("generator")
    modality = np.array(images["modality"][:])
    rows = np.concatenate([np.flatnonzero(modality == name)[:each] for name in np.unique(modality)])
    pixels, captions = load_pixels(images, rows), [images["caption"][int(row)] for row in rows]
    lines = []
    for number, (picture, caption) in enumerate(zip(pixels, captions, strict=True)):
        name = f"{number:05d}.png"
        store.write_atomic(
            folder / "images" / name, png(picture, model="none", prompt=caption, seed=0)
        )
        lines.append(json.dumps({"file_name": name, "text": caption}) + "\n")
    store.write_atomic(folder / "images" / "metadata.jsonl", "".join(lines))
    vae, pipeline = load_autoencoder(stage), load_pipeline(str(folder / "pipeline"))
    encode(vae.to(accelerator().device), pixels[:64])
    start = pairs.spent()
    latents = encode(vae, pixels)
    embed_prompts(pipeline.tokenizer, pipeline.text_encoder, sorted(set(captions)))
    plan = denoiser_plan(study)
    passes = plan.steps * plan.batch / len(images)
    assert latents.shape[1] == networks.LATENT_CHANNELS
    return {
        "batch": plan.batch,
        "encoding": (pairs.spent() - start) / len(pixels) / passes,
        "passes": passes,
    }


def ours(options: Any) -> None:
    """For each line read, trains for some steps and prints seconds and operations of an image; then profiles.

    The operations are those of the denoiser alone.
    """
    import torch

    from medisyn_lib.pipeline.denoisers import denoiser_plan, new_denoiser
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH, text_entry
    from medisyn_lib.pipeline.latents import latents_entry, load_latents
    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.training.denoiser import denoiser_flops, train_denoiser

    study = Study(options.profile, options.data)
    latents, words = load_latents(latents_entry(study)), text_entry(study)
    embeddings, caption = (
        np.load(words / "embeddings.npy", mmap_mode="r"),
        np.load(words / "caption.npy"),
    )
    net, plan = new_denoiser(study, 0), denoiser_plan(study)
    flops = denoiser_flops(net, latents.shape[-1], TEXT_WIDTH)
    dtype = {"no": torch.float32, "bf16": torch.bfloat16}[options.precision]

    def train(steps: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_denoiser(
                net,
                latents,
                embeddings,
                caption,
                replace(plan, steps=steps),
                Path(folder),
                dtype=dtype,
            )

    train(LEFT_OUT)
    for _ in sys.stdin:
        start = pairs.spent()
        train(options.steps)
        print(
            json.dumps(
                {"seconds": (pairs.spent() - start) / (options.steps * plan.batch), "flops": flops}
            ),
            flush=True,
        )
    print(json.dumps(profiled(lambda: train(options.steps))), flush=True)


def machine_precision() -> str:
    """What this machine is fastest in, as Accelerate names it: bf16, or no for float32."""
    import torch

    from medisyn_lib.runtime.device import compute_dtype

    return "bf16" if compute_dtype() == torch.bfloat16 else "no"


def profiled(work: Any) -> dict[str, float]:
    """The share of the operators' own time that each kind of them takes, on the GPU where there is one."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA][: 2 if pairs.on_gpu() else 1]
    with profile(activities=activities) as watched:
        start = pairs.spent()
        work()
        whole = pairs.spent() - start
    spent = dict.fromkeys((*KINDS, "the rest"), 0.0)
    for row in watched.key_averages():
        if pairs.on_gpu() and row.device_type == torch.autograd.DeviceType.CUDA:
            continue  # a kernel: its time is also its operator's
        kind = next(
            (k for k, pattern in KINDS.items() if re.search(pattern, row.key.lower())), "the rest"
        )
        spent[kind] += row.self_device_time_total if pairs.on_gpu() else row.self_cpu_time_total
    busy = sum(spent.values())
    watch = {"busy": busy / 1e6 / whole} if pairs.on_gpu() else {}
    return {kind: value / busy for kind, value in spent.items()} | watch


def peak() -> dict[str, float]:
    """Operations a second of a matrix product, the best of three, in single and in half precision."""
    import torch

    from medisyn_lib.runtime.device import accelerator

    found, device = {}, accelerator().device
    for name, dtype in {"no": torch.float32, "bf16": torch.bfloat16}.items():
        side = MATRIX if name == "no" or machine_precision() == "bf16" else MATRIX // 4
        side, many = (8 * MATRIX, 10) if pairs.on_gpu() else (side, (MATRIX // side) ** 2)
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        times = []
        for _ in range(4):
            start = pairs.spent()
            for _ in range(many):
                a @ b
            times.append((pairs.spent() - start) / many)
        found[name] = 2 * side**3 / min(times[1:])
    return found


class Peer:
    """The released script under way, stopped but for the steps that are asked of it; `changed` are its arguments.

    `seen` says the last step and how long it was awake until then, in processor seconds, or on a GPU by the clock.
    """

    def __init__(self, options: Any, folder: Path, batch: int, **changed: Any) -> None:
        import psutil

        self.name, self.batch, self.last = (
            options.peer.name,
            batch,
            LEFT_OUT + options.steps * options.runs,
        )
        arguments = {
            "pretrained_model_name_or_path": folder / "pipeline",
            "train_data_dir": folder / "images",
            "cache_dir": folder / "cache",
            "output_dir": folder / "trained",
            "resolution": options.size,
            "train_batch_size": batch,
            "max_train_steps": self.last + 1000,  # it is ended before
            "checkpointing_steps": self.last + 1000,
            "prediction_type": "v_prediction",  # it knows no flow matching; the work is the same
            "mixed_precision": options.precision,
            "seed": 0,
        } | changed
        words = [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in arguments.items()
        ]
        command = [sys.executable, str(options.peer), *words]
        environment = os.environ | ({} if pairs.on_gpu() else {"ACCELERATE_USE_CPU": "true"})
        self.child = psutil.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
        )
        self.seen, self.text, self.awake = (0, 0.0), "", 0.0
        self.until(LEFT_OUT)

    def until(self, step: int) -> None:
        """Lets it go on until its progress bar says that a step is done."""
        self.child.resume()
        start, before = time.perf_counter(), self.awake
        while self.seen[0] < step:
            chunk = os.read(self.child.stderr.fileno(), 65536)
            if not chunk:
                raise InputError(
                    f"--peer {self.name}: ended early; its last words: {self.text.strip().splitlines()[-1:]}"
                )
            self.text = (self.text + chunk.decode(errors="replace"))[-4000:]
            done = re.findall(r"Steps:[^\r]*?(\d+)/\d+ ", self.text)
            self.awake = before + time.perf_counter() - start
            if done and int(done[-1]) > self.seen[0]:
                cpu = self.child.cpu_times()
                self.seen = int(done[-1]), self.awake if pairs.on_gpu() else cpu.user + cpu.system
        self.child.suspend()

    def more(self, steps: int) -> dict[str, float]:
        """Seconds of an image, over that many steps more."""
        first, before = self.seen
        self.until(first + steps)
        return {"seconds": (self.seen[1] - before) / ((self.seen[0] - first) * self.batch)}


def main() -> None:
    """Lets the sides go in turn and prints the tables."""
    options = arguments()
    if options.images:
        few = replace(
            PROFILES[options.profile], images=options.images, text_steps=50
        )  # the speed does not hang on them
        PROFILES[options.profile] = few
    if options.side:
        print(json.dumps(peak())) if options.side == "peak" else ours(options)
        return
    if options.peer is None or not options.peer.is_file():
        raise InputError(
            f"--peer {options.peer}: give the path of diffusers' train_text_to_image.py (see --help)"
        )
    from medisyn_lib.data import sources
    from medisyn_lib.pipeline.study import Study

    sources.preflight(options.data)
    options.precision = options.precision or machine_precision()
    options.size = Study(options.profile, options.data).settings.size
    own = [
        __file__,
        *(f"--{n}={getattr(options, n)}" for n in ("profile", "data", "steps", "precision")),
    ]
    own += [f"--images={options.images}"] * bool(options.images)
    peers: dict[str, dict[str, Any]] = {PEER: {}}
    if options.workers:
        peers[f"{PEER}, {options.workers} workers"] = {"dataloader_num_workers": options.workers}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*peers, "ours", "peak")}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        common = prepared(options, folder)
        mine = pairs.waiting([*own, "--side=ours"])
        under_way = {
            name: Peer(options, folder, common["batch"], **changed)
            for name, changed in peers.items()
        }

        def side(name: str) -> float:
            if name in under_way:
                one = under_way[name].more(options.steps)
            else:
                one = peak() if name == "peak" else pairs.asked(mine)
            found[name].append(one)
            return one[options.precision] if name == "peak" else 1 / one["seconds"]

        try:
            pairs.interleaved({name: lambda name=name: side(name) for name in found}, options.runs)
            pairs.closed(mine)
            report(options, common, found, pairs.answer(mine))
        finally:
            for peer in under_way.values():
                peer.child.kill()
            mine.kill()


def report(
    options: Any,
    common: dict[str, Any],
    found: dict[str, list[dict[str, float]]],
    shares: dict[str, float],
) -> None:
    """Prints the tables."""
    theirs, own = ([one["seconds"] for one in found[name]] for name in (PEER, "ours"))
    flops, top = found["ours"][0]["flops"], [one[options.precision] for one in found["peak"]]
    sides = {
        **{
            name: [one["seconds"] for one in found[name]] for name in found if name.startswith(PEER)
        },
        "ours, latents and embeddings at hand": own,
        f"ours, charged for encoding once in {common['passes']:.1f} passes": [
            one + common["encoding"] for one in own
        ],
    }
    rows = []
    for name, cost in sides.items():
        share = [100 * flops / one / most for one, most in zip(cost, top, strict=True)]
        times = "1" if name == PEER else pairs.spread(pairs.ratios(theirs, cost))
        rows.append([name, pairs.spread([1 / one for one in cost]), times, pairs.spread(share, 2)])
    head = ["training", f"images a {pairs.unit()}", "times the peer", "share of matrix peak (%)"]
    print(pairs.table(head, rows))
    other = [one["no" if options.precision == "bf16" else "bf16"] for one in found["peak"]]
    name, rest = ("bfloat16", "float32") if options.precision == "bf16" else ("float32", "bfloat16")
    print(
        f"\nThe denoiser alone takes {flops / 1e9:.3g} GFLOP an image, forward and backward; batch {common['batch']},"
    )
    where = "of the GPU" if pairs.on_gpu() else "of one thread"
    print(
        f"{options.steps} steps a round. Matrix peak {where} in {name}, which both sides computed in: "
    )
    print(
        f"{pairs.spread([x / 1e9 for x in top])} GFLOP/s; in {rest} {pairs.spread([x / 1e9 for x in other])}.\n"
    )
    if busy := shares.pop("busy", None):
        print(
            f"Watched by the profiler, our step kept the GPU busy for {100 * busy:.0f}% of its time.\n"
        )
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    print(
        pairs.table(
            ["part of our step", "share of its operators' own time (%)"],
            [[k, f"{100 * v:.1f}"] for k, v in ordered],
        )
    )
    print(f"\n{pairs.machine(options.runs)}")


def arguments() -> Any:
    """What the command line asks for."""
    parser = pairs.parser(__doc__)
    parser.add_argument("--peer", type=Path, help="path of diffusers' train_text_to_image.py")
    parser.add_argument("--profile", default="quick", choices=PROFILES)
    parser.add_argument("--data", default="phantom", help="a data source")
    parser.add_argument(
        "--steps", type=pairs.whole(5, 100_000), default=10, help="that are measured in each round"
    )
    parser.add_argument(
        "--images", type=pairs.whole(1), help="a modality, instead of the profile's number"
    )
    parser.add_argument(
        "--workers", type=pairs.whole(0, 64), default=0, help="of the peer, that read images"
    )
    parser.add_argument(
        "--precision",
        choices=["no", "bf16"],
        help="default: bf16 where this machine computes in it",
    )
    parser.add_argument(
        "--side", choices=["ours", "profile", "peak"], help="one side alone, which prints JSON"
    )
    return parser.parse_args()


if __name__ == "__main__":
    pairs.run_script(main)
