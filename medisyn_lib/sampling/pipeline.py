"""Prompts and seeds to images, for any diffusers text-to-image pipeline.

One random generator per image, seeded by its own number: neither batch size nor order matters. On a CPU that is
fastest in bfloat16 networks compute in it, as in training.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from medisyn_lib.data.pixels import is_blank
from medisyn_lib.errors import InputError
from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.runtime import store
from medisyn_lib.runtime.device import accelerator, fast_inference, halving, seeded
from medisyn_lib.runtime.paths import resolve_out
from medisyn_lib.sampling.outcome import Sampled, checked_output, joined

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

__all__ = [
    "BLANK_REMEDY",
    "SAMPLING_FILE",
    "Written",
    "generate",
    "load_pipeline",
    "model_fingerprint",
    "png",
    "resolve_model",
    "sample_images",
    "sample_with_flags",
    "sampling_settings",
]

# Beside model_index.json: the arguments of `sample_images` that suit this model.
SAMPLING_FILE = "sampling.json"
INDEX_FILE = "model_index.json"
WEIGHTS = ".safetensors"
BLANK_REMEDY = (
    "that is no sample; mend its weights, or switch its safety checker off "
    '("safety_checker": [null, null] in model_index.json)'
)
WARNING = "Synthetic image made by a diffusion model. Not a patient. Not for clinical use."


def load_pipeline(model: str) -> DiffusionPipeline:
    """Load a text-to-image pipeline from a folder or a hub id; safetensors only, no remote code.

    Raises
    ------
    InputError
        Where there is none, or where its weights are pickles.
    """
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging
    from transformers.utils import logging as transformers_logging

    logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = _from_pretrained(DiffusionPipeline, model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"model {model!r}: no diffusers pipeline with safetensors weights there ({reason})"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _from_pretrained(kind: Any, model: str) -> DiffusionPipeline:
    """Load a pipeline; where its weights are there in half precision only, load those as float32."""
    if not _has_half_precision_only(Path(model)):
        try:
            return kind.from_pretrained(model, use_safetensors=True)
        except (OSError, ValueError) as error:  # of a hub id, whose files are not seen beforehand
            if Path(model).is_dir() or "safetensors" not in str(error):
                raise
    half = kind.from_pretrained(model, use_safetensors=True, variant="fp16")
    return half.to(torch.float32)


def _has_half_precision_only(folder: Path) -> bool:
    """Whether a component of a pipeline folder has its weights as the variant `fp16` and no other."""
    by_folder: dict[Path, list[bool]] = {}
    for path in _loaded_files(folder) if folder.is_dir() else ():
        if path.suffix == WEIGHTS:
            by_folder.setdefault(path.parent, []).append(".fp16" in path.name)
    return any(all(is_half) for is_half in by_folder.values())


def resolve_model(model: str) -> str:
    """Return a model as a notebook names it: a folder's absolute path, or a hub id as it is.

    A relative folder lies below the project's root.
    """
    folder = resolve_out(model)
    return str(folder) if folder.is_dir() else model


def model_fingerprint(model: str) -> str:
    """Return what a model's images depend on: the SHA-256 of what is loaded; of a hub id its name alone.

    That is every file of the pipeline's components, tokenizer included, also behind a symbolic link.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for path in _loaded_files(folder):
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)} {sha256}\n".encode())
    return total.hexdigest()


def _loaded_files(folder: Path) -> Iterator[Path]:
    """The files that a pipeline is loaded from, in order: its index, its settings, its components' folders."""
    yield from (folder / name for name in (INDEX_FILE, SAMPLING_FILE) if (folder / name).is_file())
    for component in sorted(_components(folder)):
        for place, folders, names in os.walk(folder / component, followlinks=True):
            folders.sort()
            yield from (Path(place, name) for name in sorted(names) if Path(place, name).is_file())


def _components(folder: Path) -> list[str]:
    """The names of a pipeline's components, which its index lists; of anything else all its folders."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        return [name for name in index if not name.startswith("_") and (folder / name).is_dir()]
    except (OSError, ValueError, TypeError):
        return [path.name for path in folder.iterdir() if path.is_dir()]


def sampling_settings(model: str) -> dict[str, Any]:
    """Return the sampling arguments stored with a model; of one without them none.

    Raises InputError for a file that is not one JSON object.
    """
    path = Path(model) / SAMPLING_FILE
    if not path.is_file():
        return {}
    try:
        return {**json.loads(path.read_text("utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}): "
            'write one JSON object, such as {"num_inference_steps": 20}'
        ) from error


@contextlib.contextmanager
def _named_in_errors(pipeline: Any) -> Iterator[None]:
    """Turn what a pipeline raises when it is called into an InputError that names the model.

    Its weights, its settings and its class are the user's; lack of memory is not.
    """
    try:
        yield
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        name = Path(str(getattr(pipeline, "name_or_path", ""))).name
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"model {name} cannot be sampled ({type(error).__name__}: {reason}): a component is missing or "
            f"damaged, it is no text-to-image pipeline, or its {SAMPLING_FILE} does not suit it"
        ) from error


def _check_arguments(pipeline: Any, call: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that a pipeline does not know; many would drop it without a word."""
    known = inspect.signature(type(pipeline).__call__).parameters
    unknown = [name for name in call if name not in known]
    if "num_inference_steps" in known and unknown:
        raise InputError(
            f"model {Path(str(pipeline.name_or_path)).name}: its pipeline takes no {unknown[0]!r}: "
            f"correct its {SAMPLING_FILE}"
        )


def sample_images(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch: int = 32,
    captions: Mapping[str, int] | None = None,
    **call: Any,
) -> np.ndarray:
    """Sample image i from prompt i and seed i.

    Parameters
    ----------
    pipeline : DiffusionPipeline
        Moved to the accelerator's device.
    prompts, seeds : sequence of str, sequence of int
        As many of both, at least one.
    batch : int
        Images at a time; fewer, where a card lacks the memory.
    captions : mapping of str to int, optional
        For a class-conditional pipeline, such as DiT: the words in a prompt that stand for each of
        its classes; of several the longest count.
    **call
        What the pipeline is called with: num_inference_steps, guidance_scale, ...

    Returns
    -------
    np.ndarray
        uint8 (n, h, w, 3).

    Raises
    ------
    InputError
        For a prompt that is empty, longer than the model reads or of no class, for images that are
        not finite, and for whatever the pipeline itself raises.
    """
    return sample_with_flags(
        pipeline, prompts, seeds, batch=batch, captions=captions, **call
    ).pixels


def sample_with_flags(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    batch: int = 32,
    captions: Mapping[str, int] | None = None,
    **call: Any,
) -> Sampled:
    """Sample as `sample_images` does, and say which images the pipeline's safety checker has flagged."""
    _check_prompts(prompts, seeds)
    _check_arguments(pipeline, call)
    if captions:
        batch = 1  # pipelines that take classes may draw noise from torch's own generator, too
    with _named_in_errors(pipeline), fast_inference(_networks(pipeline)):
        conditions = _conditions(pipeline, prompts, captions)
        pipeline.to(accelerator().device)
        return halving(lambda size: _sampled(pipeline, conditions, seeds, size, call), batch)


def _sampled(
    pipeline: Any, conditions: Sequence[Any], seeds: Sequence[int], batch: int, call: dict[str, Any]
) -> Sampled:
    """Sample `batch` images at a time."""
    name, parts = str(getattr(pipeline, "name_or_path", "")), []
    for start in range(0, len(conditions), batch):
        chosen = slice(start, start + batch)
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds[chosen]]
        with seeded(int(seeds[start])):
            output = pipeline(conditions[chosen], generator=generators, output_type="np", **call)
        parts.append(checked_output(output, seeds[chosen], name))
    return joined(parts)


def _networks(pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
    parts = pipeline.components.values()
    return [part for part in parts if isinstance(part, torch.nn.Module)]


def _check_prompts(prompts: Sequence[str], seeds: Sequence[int]) -> None:
    """Raise InputError where prompts are missing, empty or not as many as seeds."""
    if len(prompts) != len(seeds) or not prompts:
        raise InputError(
            f"{len(prompts)} prompts and {len(seeds)} seeds: give at least one and as many of both"
        )
    for number, prompt in enumerate(prompts):
        if not prompt.strip():
            raise InputError(
                f"prompt {number} is empty: describe an image, such as 'brain MRI, no abnormality'"
            )


def _conditions(
    pipeline: Any, prompts: Sequence[str], captions: Mapping[str, int] | None
) -> list[Any]:
    """What a pipeline is called with for these prompts: themselves, or class numbers."""
    if captions is not None:
        return [_class_of(prompt, captions) for prompt in prompts]
    if not hasattr(pipeline, "tokenizer"):
        raise InputError(
            f"model takes no text: say in its {SAMPLING_FILE} "
            "which `captions` stand for which class"
        )
    token_numbers(pipeline.tokenizer, prompts)
    return list(prompts)


def _class_of(prompt: str, captions: Mapping[str, int]) -> int:
    """The class of the longest words that a prompt holds."""
    words_in_prompt = [words for words in captions if words.lower() in prompt.lower()]
    if not words_in_prompt:
        raise InputError(
            f"prompt {prompt[:80]!r}: holds none of the `captions` "
            f"of the model's {SAMPLING_FILE}; add one"
        )
    return captions[max(words_in_prompt, key=len)]


def png(pixels: np.ndarray, *, model: str, prompt: str, seed: int) -> bytes:
    """Return a PNG file of one uint8 image (h, w, 3).

    Its metadata state that it is synthetic, and model, prompt and seed.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("Synthetic", "true")
    info.add_itxt("Model", model)
    info.add_itxt("Prompt", prompt)
    info.add_itxt("Seed", str(seed))
    info.add_itxt("Comment", WARNING)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


class Written(NamedTuple):
    """What `generate` has written, and what it has left out.

    Attributes
    ----------
    paths : the images' files
    flagged : how many images the pipeline's safety checker flagged
    blank : how many others are of one colour
    """

    paths: list[Path]
    flagged: int
    blank: int


def generate(model: str, prompt: str, n: int, seed: int, out: Path) -> Written:
    """Write `n` images of a prompt, seeds `seed` to `seed + n - 1`, and their metadata.csv.

    Images that a safety checker has flagged, or that are of one colour, are no samples: they are left out.

    Raises
    ------
    InputError
        Where none is left, and as `sample_images`.
    """
    import pandas as pd

    pipeline = load_pipeline(model)
    seeds = list(range(seed, seed + n))
    images, flagged = sample_with_flags(pipeline, [prompt] * n, seeds, **sampling_settings(model))
    name = Path(model).name
    left_out = is_blank(images)
    if left_out.all():
        fault = f"{flagged.sum()} of {n} images are flagged by its safety checker, all are of one colour"
        raise InputError(f"model {name}: {fault}: {BLANK_REMEDY}")
    paths = []
    shown = [row for row in zip(images, seeds, left_out, strict=True) if not row[2]]
    for image, number, _ in shown:
        paths.append(out / f"seed-{number:06d}.png")
        store.write_atomic(paths[-1], png(image, model=name, prompt=prompt, seed=number))
    table = pd.DataFrame(
        {
            "file_name": [path.name for path in paths],
            "text": prompt,
            "seed": [number for _, number, _ in shown],
        }
    )
    store.write_atomic(out / "metadata.csv", table.to_csv(index=False, lineterminator="\n"))
    return Written(paths, int(flagged.sum()), int((left_out & ~flagged).sum()))
