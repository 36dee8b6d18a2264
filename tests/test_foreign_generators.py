"""Generators that this project did not train: Stable Diffusion 1.5 and XL in miniature, and folders of finished images.

The miniatures are of diffusers' own classes, with random weights: what they draw shows nothing.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from medisyn_lib.claims.results import read_result
from medisyn_lib.cli import main
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization.images import training_images
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models.tokens import learn_tokenizer
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.device import seeded
from medisyn_lib.sampling.pipeline import (
    SAMPLING_FILE,
    load_pipeline,
    sample_images,
    sampling_settings,
)

BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
BLOCKS = {"block_out_channels": (16, 32), "norm_num_groups": 8}
WORDS = [
    f"{name} {finding.name}"
    for row in MODALITIES.values()
    for name in row.names
    for finding in row.findings
]


def parts(wide: int, **unet: Any) -> dict[str, Any]:
    """Tokenizer, autoencoder (16 to 8 pixels), U-Net of text width `wide`."""
    tokenizer = learn_tokenizer(WORDS * 2)
    tokenizer.model_max_length = 77
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    ends = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    blocks = BLOCKS | {
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": 1,
        "sample_size": 8,
    }
    vae = AutoencoderKL(latent_channels=4, **BLOCKS | ends)
    return {
        "tokenizer": tokenizer,
        "vae": vae,
        "unet": UNet2DConditionModel(cross_attention_dim=wide, **blocks | unet),
    }


def words_of(tokenizer: Any, act: str) -> CLIPTextConfig:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    size = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
    }
    return CLIPTextConfig(
        vocab_size=len(tokenizer), projection_dim=32, hidden_act=act, **size, **ids
    )


def stable_diffusion() -> StableDiffusionPipeline:
    made = parts(32)
    made |= {"text_encoder": CLIPTextModel(words_of(made["tokenizer"], "quick_gelu"))}
    made |= {"scheduler": PNDMScheduler(skip_prk_steps=True, **BETAS)}
    return StableDiffusionPipeline(
        **made, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "use_linear_projection": True,
    }
    more |= {
        "projection_class_embeddings_input_dim": 80,
        "transformer_layers_per_block": (1, 2),
    }  # 6 x 8 + 32
    made = parts(64, attention_head_dim=(2, 4), **more)
    text = words_of(made["tokenizer"], "gelu")
    made |= {
        "text_encoder": CLIPTextModel(text),
        "text_encoder_2": CLIPTextModelWithProjection(text),
    }
    made |= {
        "tokenizer_2": made["tokenizer"],
        "scheduler": EulerDiscreteScheduler(timestep_spacing="leading", **BETAS),
    }
    return StableDiffusionXLPipeline(**made)


KINDS = {"sd15": stable_diffusion, "sdxl": stable_diffusion_xl}


def saved(place: Path) -> Path:
    """The folder, with a pipeline of each kind in it, under its name."""
    for name, make in KINDS.items():
        with seeded(0):
            make().save_pretrained(place / name)
    return place


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("foreign"))


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_by_prompt_and_seed(
    pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Through the store, with the pipeline's own settings but for the steps; neither batch nor order matters."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path))
    model, prompts = (
        str(pipelines / kind),
        ["brain MRI, tumour", "chest X-ray, pneumonia", "brain MRI, tumour"],
    )
    call = {"first_seed": 3, "num_inference_steps": 3}
    drawn = sample_prompts(model, prompts, **call)
    assert (
        sampling_settings(model) == {} and drawn.shape == (3, 16, 16, 3) and drawn.dtype == np.uint8
    )
    assert sample_prompts(model, prompts, side=64, **call).shape == (3, 64, 64, 3)
    assert len([*tmp_path.glob("samples-*/")]) == 1  # sampled once, whatever the side
    alone = sample_images(load_pipeline(model), prompts[1:2], [4], num_inference_steps=3)
    assert (np.abs(alone[0].astype(int) - drawn[1]) > 1).mean() <= 0.01
    assert np.abs(drawn[0].astype(int) - drawn[2]).mean() > 1  # same prompt, other seed
    other = sample_prompts(str(pipelines / "sd15"), prompts, **call)
    assert (other == drawn).all() == (kind == "sd15")
    assert len([*tmp_path.glob("samples-*/")]) == (1 if kind == "sd15" else 2)


def by_class(folder: Path, scheduler: Any, captions: dict[str, int]) -> str:
    """A class-conditional pipeline (DiT) with the words that stand for its classes."""
    size = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 1,
        "norm_num_groups": 4,
    }
    with seeded(0):
        net = DiTTransformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, out_channels=8, **size
        )
        for (
            block
        ) in net.transformer_blocks:  # as released they start without any influence of the class
            torch.nn.init.normal_(block.norm1.emb.class_embedder.embedding_table.weight, std=9.0)
        DiTPipeline(net, parts(32)["vae"], scheduler).save_pretrained(folder)
    (folder / SAMPLING_FILE).write_text(
        json.dumps({"captions": captions, "num_inference_steps": 3})
    )
    return str(folder)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler])
def test_a_class_conditional_model_is_asked_by_the_words_of_a_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: Any
) -> None:
    """The longest words decide; neither batch nor order matters, though DDPM draws noise at every step."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    model = by_class(
        tmp_path / "dit", scheduler(), {"pneumonia": 1, "viral pneumonia": 2, "normal": 0}
    )
    prompts = ["Chest X-ray, pneumonia", "X-ray, viral pneumonia", "X-ray, Normal"]
    drawn = sample_prompts(model, prompts, first_seed=3)
    assert drawn.shape == (3, 16, 16, 3) and drawn.dtype == np.uint8
    pipeline, settings = load_pipeline(model), sampling_settings(model)
    again = sample_images(pipeline, prompts[::-1], [5, 4, 3], **settings)
    assert (again[::-1] == drawn).all()
    other = sample_images(pipeline, ["pneumonia, viral pneumonia", "normal"], [3, 3], **settings)
    same = sample_images(pipeline, [prompts[1]], [3], **settings)
    assert (
        (other[0] == same[0]).all() and (other[1] != same[0]).any() and (drawn[0] != same[0]).any()
    )
    with pytest.raises(InputError, match="'fundus': holds none of the `captions`"):
        sample_images(pipeline, ["normal", "fundus"], [0, 1], **settings)
    with pytest.raises(InputError, match="takes no text: say in its sampling"):
        sample_images(pipeline, ["normal"], [0])


def test_a_class_conditional_model_is_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    words = {name: number for number, row in enumerate(MODALITIES.values()) for name in row.names}
    command = [
        "audit",
        "--generator",
        by_class(tmp_path / "dit", DDIMScheduler(), words),
        "--data",
        "phantom",
    ]
    command += [
        "--profile",
        "tiny",
        "--claims",
        "training",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main.main(command) == 3 and "training: " in capsys.readouterr().out


def test_an_audit_trains_nothing_that_it_does_not_need(
    pipelines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Notebook 01 on a pipeline from elsewhere: a classifier is trained, no autoencoder, text encoder or denoiser."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    command = [
        "audit",
        "--generator",
        str(pipelines / "sd15"),
        "--data",
        "phantom",
        "--profile",
        "tiny",
    ]
    assert (
        main.main([*command, "--claims", "training", "--jobs", "1", "--out", str(tmp_path / "out")])
        == 3
    )
    told = capsys.readouterr().out
    assert (
        "training: " in told
        and "training: control failed: Nothing can be said" in told
        and "was not asked for" in told
    )
    kinds = {
        path.name.split("-")[0]
        for path in (tmp_path / "store").glob("*/")
        if not path.name.startswith(".")
    }
    evaluators = {"reader", "linear_classifier", "transformer"}
    assert (
        kinds
        == {"data", "pixels", "figure", "samples", "features", "transformer_features"} | evaluators
    )
    (claim,) = read_result(tmp_path / "out" / "results" / "01_training.json").claims
    controls = [control.name for control in claim.controls]
    assert controls == [
        f"{name}_{reader}"
        for reader in ("cnn", "linear")
        for name in ("real_modality", "real_finding", "deranged_captions")
    ]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Audit of sd15" in page and "control failed" in page
    assert sorted(path.name for path in (tmp_path / "out" / "figures").glob("*.csv")) == [
        "01_prompts.csv",
        "01_read_back.csv",
    ]


def folder_of(images: Any, place: Path) -> Path:
    """A folder of finished images: their PNGs and metadata.csv with captions."""
    place.mkdir()
    for number, pixels in enumerate(load_pixels(images)):
        Image.fromarray(pixels).save(place / f"{number}.png")
    with (place / "metadata.csv").open("w", newline="") as file:
        rows = [
            (f"{k}.png", *row)
            for k, row in enumerate(zip(images["caption"], images["modality"], strict=True))
        ]
        csv.writer(file).writerows([("file_name", "text", "modality"), *rows])
    return place


@pytest.mark.full
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [("copies", 1, "The images include copies"), ("fresh", 0, "No more images than chance allows")],
)
def test_a_copier_breaks_the_rule_and_fresh_real_images_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, code: int, words: str
) -> None:
    """Profile quick, as tiny has too few patients for a threshold; fresh ones neither calibrate nor are held out."""
    study = Study("quick", "phantom")
    images = (
        training_images(judged_generator(study, "trained"))
        if kind == "copies"
        else study.images("evaluator")
    )
    some = images.select(np.linspace(0, len(images) - 1, 600).astype(int).tolist())
    given = folder_of(some, tmp_path / kind)
    command = ["audit", "--generator", str(given), "--data", "phantom", "--claims", "memorization"]
    assert main.main([*command, "--jobs", "1", "--out", str(tmp_path / "out")]) == code
    assert words in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "results" / "05_memorization.json").read_text())
    share = next(
        m["value"] for m in result["claims"][0]["measures"] if m["name"] == "share_flagged"
    )
    assert share > 0.95 if kind == "copies" else share < 0.03
