"""Prompts and seeds to images, for any diffusers text-to-image pipeline.

One random generator per image, seeded by its own number: neither batch size nor order matters.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator, seeded
from medisyn_lib.runtime.paths import resolve_out

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SAMPLING_FILE = (
    "sampling.json"  # beside model_index.json: the arguments of `sample` that suit this model
)


def load_pipeline(model: str) -> DiffusionPipeline:
    """A text-to-image pipeline from a folder or a hub id; safetensors only, no remote code.

    Raises InputError where there is none, or where its weights are pickles.
    """
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    try:
        pipeline = DiffusionPipeline.from_pretrained(model, use_safetensors=True)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {model!r}: no diffusers pipeline with safetensors weights there ({first})"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def resolve_model(model: str) -> str:
    """A model as a notebook names it: a folder, relative to the project's root, or a hub id as it is."""
    folder = resolve_out(model)
    return str(folder) if folder.is_dir() else model


def model_fingerprint(model: str) -> str:
    """What a model's images depend on: the bytes of its folder's files; of a hub id its name alone."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")) + sorted(folder.rglob("*.json")):
        with path.open("rb") as stream:
            total.update(
                f"{path.relative_to(folder)} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def sampling_settings(model: str) -> dict[str, Any]:
    """The sampling arguments kept with a model of this project; none for others (their own defaults)."""
    path = Path(model) / SAMPLING_FILE
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def sample_images(
    pipeline: DiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], *, batch: int = 32,
    captions: Mapping[str, int] | None = None, **call: Any,
) -> np.ndarray:  # fmt: skip
    """uint8 images (n, h, w, 3): image i from prompt i and seed i.

    `captions` are for a class-conditional pipeline, such as DiT: the words in a prompt that stand for each of its
    classes; of several the longest count. `call` goes to the pipeline (num_inference_steps, guidance_scale, ...).
    Raises InputError for a prompt that is empty, longer than the model reads or of no class.
    """
    if len(prompts) != len(seeds) or not prompts:
        raise InputError(
            f"{len(prompts)} prompts and {len(seeds)} seeds: give at least one and as many of both"
        )
    if blank := [i for i, prompt in enumerate(prompts) if not prompt.strip()]:
        raise InputError(
            f"prompt {blank[0]} is empty: describe an image, such as 'brain MRI, no abnormality'"
        )
    asked, parts = _asked(pipeline, prompts, captions), []
    pipeline.to(accelerator().device)
    batch = (
        1 if captions else batch
    )  # pipelines that take classes may draw noise from torch's own generator, too
    with torch.inference_mode():
        for start in range(0, len(prompts), batch):
            some = slice(start, start + batch)
            generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds[some]]
            with seeded(int(seeds[start])):
                images = pipeline(
                    asked[some], generator=generators, output_type="np", **call
                ).images
            parts.append(np.rint(images * 255.0).astype(np.uint8))
    return np.concatenate(parts)


def _asked(pipeline: Any, prompts: Sequence[str], captions: Mapping[str, int] | None) -> list[Any]:
    """What a pipeline is called with for these prompts: themselves, or classes."""
    if captions is None:
        if not hasattr(pipeline, "tokenizer"):
            raise InputError(
                f"model takes no text: say in its {SAMPLING_FILE} which `captions` stand for which class"
            )
        token_numbers(pipeline.tokenizer, prompts)
        return list(prompts)
    held = [[words for words in captions if words.lower() in prompt.lower()] for prompt in prompts]
    if [] in held:
        bare = prompts[held.index([])]
        raise InputError(
            f"prompt {bare[:80]!r}: holds none of the `captions` of the model's {SAMPLING_FILE}; add one"
        )
    return [captions[max(words, key=len)] for words in held]


def png(pixels: np.ndarray, *, model: str, prompt: str, seed: int) -> bytes:
    """A PNG file of one uint8 image (h, w, 3) whose metadata says synthetic, model, prompt and seed."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, value in {
        "Synthetic": "true",
        "Model": model,
        "Prompt": prompt,
        "Seed": str(seed),
    }.items():
        info.add_itxt(name, value)
    info.add_itxt(
        "Comment", "Synthetic image made by a diffusion model. Not a patient. Not for clinical use."
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def generate(model: str, prompt: str, n: int, seed: int, out: Path) -> list[Path]:
    """Writes `n` images of `prompt`, seeds `seed` to `seed + n - 1`, and their metadata.csv to `out`."""
    import pandas as pd

    pipeline = load_pipeline(model)
    seeds = list(range(seed, seed + n))
    images = sample_images(pipeline, [prompt] * n, seeds, **sampling_settings(model))
    name = Path(model).name
    paths = [out / f"seed-{number:06d}.png" for number in seeds]
    for path, image, number in zip(paths, images, seeds, strict=True):
        store.write_atomic(path, png(image, model=name, prompt=prompt, seed=number))
    table = pd.DataFrame(
        {"file_name": [path.name for path in paths], "text": prompt, "seed": seeds}
    )
    store.write_atomic(out / "metadata.csv", table.to_csv(index=False, lineterminator="\n"))
    return paths
