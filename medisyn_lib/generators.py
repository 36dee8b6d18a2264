"""From a data source to trained generators, step by step, each step kept in the store.

Images -> first stage -> latents; captions and latents -> text encoder -> embeddings; both -> one
denoiser for all modalities (the generalist) or for one (a specialist) -> a diffusers folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medisyn_lib import data, denoising, evaluators, first_stage, models, processes, store, text, training
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.paths import resolve_out
from medisyn_lib.profiles import PROFILES, Profile
from medisyn_lib.provenance import collect, data_label, run_name
from medisyn_lib.sampling import SETTINGS

if TYPE_CHECKING:
    import datasets
    from diffusers import AutoencoderKL, UNet2DConditionModel

TEXT_WIDTH, TEXT_LAYERS = 128, 2
MODELS_CODE = ("medisyn_lib.models", "medisyn_lib.training")


@dataclass(frozen=True)
class Study:
    """A profile and a data source: everything that a trained generator follows from, but its seed."""

    profile: str
    source: str
    retrain: bool = False  # the first stage from random weights instead of the shipped ones

    @cached_property
    def settings(self) -> Profile:
        """The profile's row of the table."""
        return PROFILES[self.profile]

    @property
    def scale(self) -> str:
        """Data, profile and size in words, for the title of every figure."""
        return f"{data_label(self.source)}, profile {self.profile}, {self.settings.size} pixels"

    def folder(self, out: str) -> Path:
        """Where a notebook writes: `out`, or build/<profile>-<data> where that is empty."""
        return resolve_out(out or f"build/{run_name(self.profile, self.source)}")

    def provenance(self, seconds: float, flops: float) -> dict[str, Any]:
        """The `provenance` of a result of this study (`medisyn_lib.provenance.collect`)."""
        return collect(self.profile, self.source, self.settings.seeds, data.fingerprint(self.source), seconds, flops)

    def images(self, role: str) -> datasets.Dataset:
        """The images of a role, as many a modality as the profile says."""
        return data.load(self.source, role=role, size=self.settings.size, per_modality=self.settings.images_of(role))


def reader_entry(study: Study, role: str = "evaluator", *, seed: int = 0) -> Path:
    """Folder of a reader of modality and finding (`evaluators.Reader`), trained on the patients of a role."""
    plan = training.Plan(steps=study.settings.evaluator_steps, batch=32, rate=3e-3, seed=seed, decay=0.05)

    def make(directory: Path) -> None:
        images = study.images(role)
        evaluators.train(data.pixels(images), images["modality"][:], images["finding"][:], plan, directory)

    what = {"plan": asdict(plan), **_data_settings(study, role)}
    return processes.keep_together("reader", what, make, code=(*MODELS_CODE, "medisyn_lib.evaluators"))


def readable(study: Study, role: str = "evaluator") -> bool:
    """Whether a role's images are of two classes or more, so that a reader can learn them."""
    images = study.images(role)
    return len({*zip(images["modality"][:], images["finding"][:], strict=True)}) > 1


def first_stage_entry(study: Study) -> Path:
    """Folder of the frozen first stage (`vae/`) that all generators of this study share.

    Phantoms have the shipped one; other sources adapt it to the generator's patients, guided by a
    reader trained on the same patients; a source that names no two classes keeps the shipped one, too.
    """
    settings, retrain = study.settings, study.retrain
    shipped = not retrain and (study.source == "phantom" or not readable(study, "first_stage"))
    steps = 0 if shipped else settings.retrain_steps if retrain else settings.first_stage_steps
    plan = training.Plan(steps=steps, batch=16, rate=1e-3 if retrain else 5e-4)
    weights = hashlib.sha256(first_stage.shipped_weights().read_bytes()).hexdigest()
    guides = [reader_entry(study, "first_stage")] if steps else []

    def make(directory: Path) -> None:
        with models.seeded(plan.seed):
            vae = models.first_stage(first_stage.WIDTHS) if retrain else first_stage.load_shipped()
        for guide in guides:
            first_stage.train(vae, evaluators.Reader(guide), study.images("first_stage"), plan, directory)
        vae.save_pretrained(directory / "vae")

    what = {"plan": asdict(plan), "retrain": retrain, "weights": weights}
    what |= _data_settings(study, "first_stage") if steps else {}
    code = (*MODELS_CODE, "medisyn_lib.first_stage", "medisyn_lib.evaluators") if steps else ("medisyn_lib.models",)
    inputs = [guide.name for guide in guides]
    return processes.keep_together("first_stage", what, make, inputs=inputs, code=code)


def _data_settings(study: Study, role: str) -> dict[str, object]:
    """What a step over a source's images depends on."""
    n, size = study.settings.images_of(role), study.settings.size
    return {"data": data.fingerprint(study.source), "role": role, "images": n, "size": size}


def load_first_stage(entry: Path) -> AutoencoderKL:
    """The first stage of an entry, frozen."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(entry / "vae").eval().requires_grad_(False)


def latents_entry(study: Study) -> Path:
    """Folder with `latents.npy`, float16 (n, 16, h, w): the generator's images through the first stage."""
    stage = first_stage_entry(study)

    def part(rows: np.ndarray) -> np.ndarray:
        vae = load_first_stage(stage).to(processes.accelerator().device)
        return first_stage.encode(vae, data.pixels(study.images("generator"), rows)).astype(np.float16)

    what, code = _data_settings(study, "generator"), ("medisyn_lib.first_stage",)
    count = lambda: len(study.images("generator"))  # noqa: E731
    return processes.keep_array("latents", what, count, part, inputs=[stage.name], code=code).parent


def decoded(study: Study, pixels: np.ndarray) -> np.ndarray:
    """Images uint8 (n, h, w, 3) through the first stage and back, kept in the store under their own bytes."""
    stage = first_stage_entry(study)

    def part(rows: np.ndarray) -> np.ndarray:
        vae = load_first_stage(stage).to(processes.accelerator().device)
        return first_stage.decode(vae, first_stage.encode(vae, pixels[rows]))

    what = {"images": hashlib.sha256(pixels.tobytes()).hexdigest(), "shape": pixels.shape}
    code = ("medisyn_lib.first_stage",)
    return np.load(processes.keep_array("decoded", what, lambda: len(pixels), part, inputs=[stage.name], code=code))


def load_latents(entry: Path) -> np.ndarray:
    """The latents of an entry, memory-mapped."""
    return np.load(entry / "latents.npy", mmap_mode="r")


def text_entry(study: Study) -> Path:
    """Folder with `tokenizer/`, `text_encoder/`, `embeddings.npy` (m + 1, tokens, width), `caption.npy` (n,).

    The last embedding is of the empty prompt; `caption` says which one belongs to each image.
    """
    latents = latents_entry(study)
    plan = training.Plan(steps=study.settings.text_steps, batch=128, rate=2e-3)

    def make(directory: Path) -> None:
        captions = study.images("generator")["caption"][:]
        tokenizer, encoder = text.train(captions, load_latents(latents), plan, directory, TEXT_WIDTH, TEXT_LAYERS)
        unique, number = np.unique(np.asarray(captions, dtype=str), return_inverse=True)
        tokenizer.save_pretrained(directory / "tokenizer")
        encoder.save_pretrained(directory / "text_encoder")
        embeddings = text.embed(tokenizer, encoder, [*unique.tolist(), ""])
        np.save(directory / "embeddings.npy", embeddings.astype(np.float16))
        np.save(directory / "caption.npy", number.astype(np.int64))

    what = {"plan": asdict(plan), "width": TEXT_WIDTH, "layers": TEXT_LAYERS}
    code = (*MODELS_CODE, "medisyn_lib.text", "medisyn_lib.modalities")  # the captions' words are made there
    return processes.keep_together("text", what, make, inputs=[latents.name], code=code)


def new_denoiser(study: Study, seed: int) -> UNet2DConditionModel:
    """The untrained denoiser that generalist and specialists of a seed all start from."""
    with models.seeded(seed):
        return models.denoiser(study.settings.size, study.settings.denoiser_widths, text_width=TEXT_WIDTH)


def denoiser_plan(study: Study, modality: str | None = None, seed: int = 0, long: bool = False) -> training.Plan:
    """The generalist's plan; a specialist has a tenth of it, and so sees its modality as often, or, `long`, all."""
    settings, share = study.settings, 1 if modality is None or long else len(MODALITIES)
    steps = max(1, settings.denoiser_steps // share)
    return training.Plan(steps=steps, batch=settings.denoiser_batch, rate=1.5e-3, seed=seed, average=0.999)


def snapshot_steps(plan: training.Plan) -> tuple[int, ...]:
    """The steps after which weights of a long training are kept: an eighth, a quarter, a half, the end."""
    return tuple(sorted({max(1, plan.steps // share) for share in (8, 4, 2, 1)}))


def load_denoiser(study: Study, entry: Path, seed: int = 0, step: int | None = None) -> UNet2DConditionModel:
    """The denoiser of an entry after `step` steps, by default all of its plan; 0 is the untrained one."""
    net = new_denoiser(study, seed)
    if step is None:
        step = json.loads((entry / "compute.json").read_text("utf-8"))["steps"]
    if step:
        models.load_weights(net, entry / f"step-{step}.safetensors", prefix="denoiser.")
    return net.eval()


def denoiser_entry(study: Study, modality: str | None = None, *, seed: int = 0, long: bool = False) -> Path:
    """Folder of a trained denoiser: `step-N.safetensors`, `history.csv`, `compute.json`."""
    latents, words = latents_entry(study), text_entry(study)
    plan = denoiser_plan(study, modality, seed, long)

    def make(directory: Path) -> None:
        kept, embeddings = load_latents(latents), np.load(words / "embeddings.npy", mmap_mode="r")
        caption = np.load(words / "caption.npy")
        if modality is not None:
            rows = np.flatnonzero(np.asarray(study.images("generator")["modality"][:]) == modality)
            if not len(rows):
                raise InputError(f"specialist for {modality!r}: the data have no such images; leave it out")
            kept, caption = kept[rows], caption[rows]
        net = new_denoiser(study, seed)
        flops = denoising.operations(net, kept.shape[-1], TEXT_WIDTH)
        kept_steps = snapshot_steps(plan) if modality is None or long else (plan.steps,)
        start = time.perf_counter()
        denoising.train(net, kept, embeddings, caption, plan, directory, kept_steps)
        seen = plan.steps * plan.batch
        cost = {"steps": plan.steps, "images": seen, "flops_per_image": flops, "flops": flops * seen}
        cost["seconds"] = time.perf_counter() - start  # of the last go, where it was interrupted
        store.write_atomic(directory / "compute.json", json.dumps(cost))

    what = {"plan": asdict(plan), "widths": study.settings.denoiser_widths, "modality": modality}
    code = (*MODELS_CODE, "medisyn_lib.denoising", "medisyn_lib.compute")
    return processes.keep_together("denoiser", what, make, inputs=[latents.name, words.name], code=code)


def flops_of(entries: Iterable[Path]) -> float:
    """Floating-point operations that trained denoisers of these entries took, together."""
    return sum(json.loads((entry / "compute.json").read_text("utf-8"))["flops"] for entry in entries)


def generator_entry(
    study: Study, modality: str | None = None, *, seed: int = 0, step: int | None = None, trained: Path | None = None
) -> Path:
    """A finished generator: a folder that `diffusers.DiffusionPipeline.from_pretrained` loads.

    `step` takes the denoiser's weights from the way there; 0 leaves it untrained. `trained` is another entry of one.
    """
    stage, words = first_stage_entry(study), text_entry(study)
    trained = trained or denoiser_entry(study, modality, seed=seed)

    def make(directory: Path) -> None:
        if processes.accelerator().is_main_process:  # of several alone transformers lets this one save
            assemble(directory, stage, words, load_denoiser(study, trained, seed, step), study)
            cost = json.loads((trained / "compute.json").read_text("utf-8"))
            store.write_atomic(directory / "README.md", model_card(study, modality, seed, cost))

    what: dict[str, object] = {"modality": modality, "seed": seed, "step": step, "profile": study.profile}
    what |= {"steps": study.settings.sampling_steps, "guidance": study.settings.guidance}
    inputs = [stage.name, words.name, trained.name]
    code = ("medisyn_lib.generators", "medisyn_lib.models")
    return processes.keep_together("generator", what, make, inputs=inputs, code=code)


def assemble(directory: Path, stage: Path, words: Path, net: UNet2DConditionModel, study: Study) -> None:
    """Writes the pipeline folder: stock classes only, so that it loads without this package."""
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionPipeline(
        vae=load_first_stage(stage), text_encoder=CLIPTextModel.from_pretrained(words / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(words / "tokenizer"), unet=net, scheduler=models.scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(directory, safe_serialization=True)
    call = {"num_inference_steps": study.settings.sampling_steps, "guidance_scale": study.settings.guidance}
    store.write_atomic(directory / SETTINGS, json.dumps(call))


def model_card(study: Study, modality: str | None, seed: int, cost: dict[str, float]) -> str:
    """The model card (Markdown with Hugging Face metadata) of a generator trained here: `model_card.md`, filled in."""
    kind = f"a specialist for {modality}" if modality else "the generalist for all modalities of its data"
    card = Path(__file__).with_name("model_card.md").read_text("utf-8")
    return card.format(kind=kind, data=data_label(study.source), study=study, seed=seed, cost=cost)
