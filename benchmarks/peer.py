"""The peer that training is compared with: diffusers' own text-to-image example, run as released.

It is `examples/text_to_image/train_text_to_image.py` of github.com/huggingface/diffusers: download it (any recent tag)
and pass its path; none of it is kept here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pairs

from medisyn_lib.errors import InputError

if TYPE_CHECKING:
    from medisyn_lib.pipeline.study import Study

PEER = "diffusers' train_text_to_image"
WARMUP_STEPS = 4  # that are left out
ENDLESS = 10**6  # steps: it is ended before
READ_AT_ONCE, REMEMBERED = 65536, 4000  # bytes of its progress, and letters


class Progress(NamedTuple):
    """How far the peer was seen to have come."""

    step: int
    seconds: float  # awake until then: of a processor, or on a GPU wall-clock


class Material(NamedTuple):
    """What both sides train from, in the peer's terms."""

    pipeline: Path  # untrained
    images: Path  # with captions in metadata.jsonl
    captions: list[str]
    pixels: np.ndarray  # uint8 (n, h, w, 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the peer is, and how many workers read its images."""
    parser.add_argument("--peer", type=Path, help="path of diffusers' train_text_to_image.py")
    parser.add_argument(
        "--workers", type=pairs.whole(0, 64), default=0, help="of the peer, that read images"
    )


def check_peer(path: Path | None) -> None:
    """Raise InputError where the peer's path is missing or wrong."""
    if path is None or not path.is_file():
        remedy = "give the path of diffusers' train_text_to_image.py (see --help)"
        raise InputError(f"--peer {path}: {remedy}")


def machine_precision() -> str:
    """Return what this machine is fastest in, as Accelerate names it: bf16, or no for float32."""
    import torch

    from medisyn_lib.runtime.device import compute_dtype

    return "bf16" if compute_dtype() == torch.bfloat16 else "no"


def write_material(study: Study, folder: Path, per_modality: int) -> Material:
    """Write a study's untrained pipeline, and images of its generator with captions, into a folder."""
    from medisyn_lib.pipeline.generators import SamplingCall, assemble
    from medisyn_lib.runtime import store
    from medisyn_lib.sampling.pipeline import png

    call = SamplingCall(study.settings.sampling_steps, study.settings.guidance)
    net = study.denoiser_shape.new(0)
    scheduler = study.denoiser_origin.scheduler()
    assemble(folder / "pipeline", study.autoencoder, study.embeddings, net, scheduler, call)
    images = study.image_set("generator")
    modality, captions = images.column("modality"), images.column("caption")
    rows = np.concatenate(
        [np.flatnonzero(modality == name)[:per_modality] for name in np.unique(modality)]
    )
    pixels, captions = images.pixels(rows), captions[rows].tolist()
    lines = []
    for number, (picture, caption) in enumerate(zip(pixels, captions, strict=True)):
        name = f"{number:05d}.png"
        file = png(picture, model="none", prompt=caption, seed=0)
        store.write_atomic(folder / "images" / name, file)
        lines.append(json.dumps({"file_name": name, "text": caption}) + "\n")
    store.write_atomic(folder / "images" / "metadata.jsonl", "".join(lines))
    return Material(folder / "pipeline", folder / "images", captions, pixels)


class Peer:
    """The released script under way, suspended but for the steps that are asked of it.

    Attributes
    ----------
    progress : Progress
        The last step that was seen to end.
    """

    def __init__(self, options: Any, folder: Path, batch: int, **changed: Any) -> None:
        import psutil

        self.name, self.batch = options.peer.name, batch
        arguments = {
            "pretrained_model_name_or_path": folder / "pipeline",
            "train_data_dir": folder / "images",
            "cache_dir": folder / "cache",
            "output_dir": folder / "trained",
            "resolution": options.size,
            "train_batch_size": batch,
            "max_train_steps": ENDLESS,
            "checkpointing_steps": ENDLESS,
            "prediction_type": "v_prediction",  # it knows no flow matching; the work is the same
            "mixed_precision": options.precision,
            "seed": 0,
        } | changed
        words = [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in arguments.items()
        ]
        command = [sys.executable, str(options.peer), *words]
        environment = dict(os.environ)
        if not pairs.on_gpu():
            environment["ACCELERATE_USE_CPU"] = "true"
        self.child = psutil.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
        )
        self.progress, self.text, self.awake = Progress(0, 0.0), "", 0.0
        self.until(WARMUP_STEPS)

    def until(self, step: int) -> None:
        """Let it go on until its progress bar says that a step is done. Raises InputError where it ends first."""
        self.child.resume()
        start, before = time.perf_counter(), self.awake
        while self.progress.step < step:
            self._read()
            self.awake = before + time.perf_counter() - start
            done = re.findall(r"Steps:[^\r]*?(\d+)/\d+ ", self.text)
            if done and int(done[-1]) > self.progress.step:
                self.progress = Progress(int(done[-1]), self._seconds())
        self.child.suspend()

    def _read(self) -> None:
        """Read on in its progress bar."""
        chunk = os.read(self.child.stderr.fileno(), READ_AT_ONCE)
        if not chunk:
            last_words = self.text.strip().splitlines()[-1:]
            raise InputError(f"--peer {self.name}: ended early; its last words: {last_words}")
        self.text = (self.text + chunk.decode(errors="replace"))[-REMEMBERED:]

    def _seconds(self) -> float:
        """Seconds awake so far: of a processor, or on a GPU wall-clock."""
        if pairs.on_gpu():
            return self.awake
        times = self.child.cpu_times()
        return times.user + times.system

    def seconds_of_an_image(self, steps: int) -> float:
        """Let it do that many steps more; return the seconds that an image took."""
        before = self.progress
        self.until(before.step + steps)
        images = (self.progress.step - before.step) * self.batch
        return (self.progress.seconds - before.seconds) / images

    def end(self) -> None:
        """End it, if it has not ended by itself."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
