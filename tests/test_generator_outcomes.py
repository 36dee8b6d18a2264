"""What generators really put out: blanked, not finite, grey, oblong or always the same; and what is loaded of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import load_file, save_file
from test_foreign_generators import stable_diffusion
from transformers import CLIPConfig, CLIPImageProcessor

from medisyn_lib.cli import main
from medisyn_lib.data.pixels import centre_square
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization.images import judged_images, sample_at_study_size
from medisyn_lib.phantoms import draw
from medisyn_lib.pipeline import samples
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime.device import seeded
from medisyn_lib.sampling.outcome import as_pixels, checked_output
from medisyn_lib.sampling.pipeline import generate, load_pipeline, model_fingerprint, sample_images

CALL = {"num_inference_steps": 2}
SETTINGS = json.dumps(CALL)
TINY_CLIP = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def saved(pipeline: StableDiffusionPipeline, place: Path, **how: Any) -> str:
    """The folder of a pipeline, with few steps in its settings."""
    pipeline.save_pretrained(place, **how)
    (place / "sampling.json").write_text(SETTINGS)
    return str(place)


def miniature() -> StableDiffusionPipeline:
    """Stable Diffusion in miniature, of 16 pixels, always the same weights."""
    with seeded(0):
        return stable_diffusion()


def with_safety_checker(threshold: float) -> StableDiffusionPipeline:
    """The miniature with a checker that flags images whose likeness to a concept is above a threshold."""
    pipeline = miniature()
    with seeded(1):
        checker = StableDiffusionSafetyChecker(
            CLIPConfig(
                text_config=TINY_CLIP | {"num_hidden_layers": 1},
                vision_config=TINY_CLIP
                | {"num_hidden_layers": 1, "image_size": 16, "patch_size": 8},
                projection_dim=8,
            )
        )
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    torch.nn.init.constant_(checker.special_care_embeds_weights, 2.0)
    reduce = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    pipeline.register_modules(safety_checker=checker, feature_extractor=reduce)
    return pipeline


def test_a_safety_checker_that_flags_everything_is_no_generator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(with_safety_checker(-2.0), tmp_path / "prudish")
    out = tmp_path / "out"
    command = ["generate", "--model", model, "--prompt", "brain MRI", "-n", "2", "--out", str(out)]
    assert main.main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "model prudish: 2 of 2 images are flagged by its safety checker" in told
    assert '"safety_checker": [null, null] in model_index.json' in told
    assert not out.exists() or not list(out.iterdir())
    with pytest.raises(InputError, match="model prudish: 3 of 3 images are of one colour"):
        sample_prompts(model, ["brain MRI"] * 3)
    with pytest.raises(InputError, match="generator prudish: 3 of 3 images are of one colour"):
        sample_at_study_size(Study("tiny", "phantom"), model, ["brain MRI"] * 3, 0)


def test_a_safety_checker_that_flags_nothing_changes_nothing(tmp_path: Path) -> None:
    with_checker = saved(with_safety_checker(2.0), tmp_path / "calm")
    without = saved(miniature(), tmp_path / "without")
    made = [sample_images(load_pipeline(m), ["a"], [0], **CALL) for m in (with_checker, without)]
    assert (made[0] == made[1]).all()


def test_flagged_and_blank_images_are_left_out_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of four images one is flagged, though its checker leaves it as it is, and one is of one colour."""
    images = np.random.default_rng(0).random((4, 16, 16, 3))
    images[2] = 0.5
    output = SimpleNamespace(images=images, nsfw_content_detected=[True, False, False, False])
    model = saved(miniature(), tmp_path / "some")
    monkeypatch.setattr(StableDiffusionPipeline, "__call__", lambda *_, **__: output)
    out = tmp_path / "out"
    command = ["generate", "--model", model, "--prompt", "brain MRI", "-n", "4", "--out", str(out)]
    assert main.main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"2 synthetic images written to {out}",
        "1 of 4 images left out: flagged by the model's safety checker",
        "1 of 4 images left out: of one colour",
    ]
    assert sorted(path.name for path in out.iterdir()) == [
        "metadata.csv",
        "seed-000001.png",
        "seed-000003.png",
    ]
    assert "seed-000003.png,brain MRI,3" in (out / "metadata.csv").read_text()
    written = generate(model, "brain MRI", 4, 0, tmp_path / "again")
    assert (len(written.paths), written.flagged, written.blank) == (2, 1, 1)


def test_an_autoencoder_with_nan_in_its_bias_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = miniature()
    torch.nn.init.constant_(pipeline.vae.decoder.conv_out.bias, float("nan"))
    model, out = saved(pipeline, tmp_path / "broken"), tmp_path / "out"
    command = ["generate", "--model", model, "--prompt", "a", "-n", "2", "--out", str(out)]
    assert main.main([*command, "--seed", "7"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "broken: 2 of 2 images are not finite, first seed 7: its weights are damaged" in told
    assert not out.exists() or not list(out.iterdir())
    with pytest.raises(InputError, match="not finite"):
        sample_prompts(model, ["a"])


def test_one_image_that_is_not_finite_is_named_by_its_seed() -> None:
    images = np.zeros((3, 4, 4, 3))
    images[1, 2, 2, 0] = np.inf
    with pytest.raises(InputError, match="model m: 1 of 3 images are not finite, first seed 6"):
        as_pixels(images, [5, 6, 7], "m")


def test_a_pipeline_of_one_channel_gives_grey_images(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).random((2, 4, 4, 1))
    pixels = checked_output(SimpleNamespace(images=grey), [0, 1], "m").pixels
    assert pixels.shape == (2, 4, 4, 3) and (pixels == np.rint(grey * 255)).all()
    for shape in ((2, 4, 4, 2), (2, 4, 4)):
        with pytest.raises(InputError, match="not grey or RGB images"):
            as_pixels(np.zeros(shape), [0, 1], "m")
    pipeline = miniature()
    with seeded(0):
        pipeline.vae.decoder.conv_out = torch.nn.Conv2d(16, 1, 3, padding=1)
        pipeline.vae.encoder.conv_in = torch.nn.Conv2d(1, 16, 3, padding=1)
    pipeline.vae.register_to_config(in_channels=1, out_channels=1)
    model = saved(pipeline, tmp_path / "grey")
    assert generate(model, "a", 1, 0, tmp_path / "out").paths[0].is_file()


def test_weights_in_half_precision_alone_are_loaded(tmp_path: Path) -> None:
    model = saved(miniature().to(torch.float16), tmp_path / "half", variant="fp16")
    weights = sorted(path.name for path in Path(model).rglob("*.safetensors"))
    assert len(weights) == 3 and all(".fp16." in name for name in weights)
    pipeline = load_pipeline(model)
    assert {p.dtype for p in (*pipeline.unet.parameters(), *pipeline.vae.parameters())} == {
        torch.float32
    }
    assert pipeline.text_encoder.dtype == torch.float32
    made = sample_images(pipeline, ["a"], [0], **CALL).astype(int)
    whole = sample_images(load_pipeline(saved(miniature(), tmp_path / "f")), ["a"], [0], **CALL)
    assert np.abs(made - whole).mean() < 2


def test_of_a_hub_id_half_precision_is_taken_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def from_pretrained(model: str, **how: Any) -> Any:
        asked.append(how.get("variant"))
        if "variant" not in how:
            raise OSError("Could not find the necessary `safetensors` weights in {...}")
        return miniature()

    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", from_pretrained)
    assert load_pipeline("owner/name") and asked == [None, "fp16"]


def settle(text: str) -> Callable[[Path], None]:
    """A function that writes other settings beside a model."""
    return lambda model: (model / "sampling.json").write_text(text) and None


def without_a_weight(model: Path) -> None:
    path = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file(dict([*weights.items()][1:]), path)


def without_tokenizer(model: Path) -> None:
    shutil.rmtree(model / "tokenizer")


def of_another_kind(model: Path) -> None:
    index = json.loads((model / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionInpaintPipeline"
    (model / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (settle('{"num_inference_steps": 0}'), "model odd cannot be sampled"),
        (settle('{"guidance_scale": "high"}'), "model odd cannot be sampled (TypeError"),
        (settle('{"frobnicate": 1}'), "model odd: its pipeline takes no 'frobnicate'"),
        (settle("[1]"), "sampling.json cannot be read (TypeError)"),
        (settle("{"), "sampling.json cannot be read (JSONDecodeError)"),
        (without_a_weight, "model odd cannot be sampled (NotImplementedError"),
        (without_tokenizer, "model odd cannot be sampled (OverflowError"),
        (of_another_kind, "it is no text-to-image pipeline"),
    ],
)
def test_a_pipeline_that_cannot_be_called_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, words: str
) -> None:
    """Each of them ended in exit code 4, but for the unknown setting, which was dropped without a word."""
    model = saved(miniature(), tmp_path / "odd")
    damage(Path(model))
    out = tmp_path / "out"
    command = ["generate", "--model", model, "--prompt", "brain MRI", "-n", "1", "--out", str(out)]
    assert main.main(command) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert words in told and "sampling.json" in told
    assert not out.exists() or not list(out.iterdir())


# What is hashed is what is loaded


def test_changed_weights_behind_a_symbolic_link_are_other_samples(tmp_path: Path) -> None:
    model = Path(saved(miniature(), tmp_path / "linked"))
    (model / "vae").rename(tmp_path / "elsewhere")
    (model / "vae").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    before, first = model_fingerprint(str(model)), sample_prompts(str(model), ["a"])
    changed = miniature()
    with seeded(5):
        torch.nn.init.normal_(changed.vae.decoder.conv_out.weight)
    changed.vae.save_pretrained(tmp_path / "elsewhere")
    assert model_fingerprint(str(model)) != before
    assert (sample_prompts(str(model), ["a"]) != first).any()


@pytest.mark.parametrize("name", ["merges.txt", "vocab.json", "spiece.model"])
def test_the_tokenizer_counts(tmp_path: Path, name: str) -> None:
    model = Path(saved(miniature(), tmp_path / "m"))
    before = model_fingerprint(str(model))
    file = model / "tokenizer" / name
    file.write_bytes((file.read_bytes() if file.exists() else b"") + b"\n")
    assert model_fingerprint(str(model)) != before


def test_what_is_not_loaded_does_not_count(tmp_path: Path) -> None:
    model = Path(saved(miniature(), tmp_path / "m"))
    before = model_fingerprint(str(model))
    (model / "README.md").write_text("a card")
    (model / "pictures").mkdir()
    (model / "pictures" / "a.json").write_text("{}")
    assert model_fingerprint(str(model)) == before
    shutil.copytree(model, tmp_path / "copy")
    assert model_fingerprint(str(tmp_path / "copy")) == before
    (model / "sampling.json").write_text('{"guidance_scale": 3}')
    assert model_fingerprint(str(model)) != before


# Size


@pytest.mark.parametrize("shape", [(128, 128), (64, 96)])
def test_samples_come_to_their_size_as_real_images_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]
) -> None:
    """Exact copies of real images stay exact copies: by the bilinear filter they scored 0.35."""
    large = np.stack([draw("chest_xray", seed=0, index=n, size=128)[0] for n in range(2)])
    large = np.ascontiguousarray(large[:, : shape[0], : shape[1]])
    model = saved(miniature(), tmp_path / "m")
    monkeypatch.setattr(samples, "sample_images", lambda *_, **__: large)
    made = sample_prompts(model, ["a", "b"], side=64)
    real = [np.asarray(centre_square(Image.fromarray(image), 64)) for image in large]
    assert (made == np.stack(real)).all()


# Finished images that show nothing, or always the same


def finished(place: Path, images: list[np.ndarray]) -> str:
    """A folder of finished images."""
    place.mkdir()
    lines = ["file_name,text"]
    for number, image in enumerate(images):
        Image.fromarray(image).save(place / f"{number}.png")
        lines.append(f"{number}.png,brain MRI")
    (place / "metadata.csv").write_text("\n".join(lines))
    return str(place)


def phantom(number: int) -> np.ndarray:
    return draw("brain_mri", seed=3, index=number, size=64)[0]


def test_black_images_are_not_judged_as_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    given = finished(tmp_path / "mostly", [*[black] * 54, *map(phantom, range(6))])
    judged = judged_images(judged_generator(Study("tiny", "phantom"), given))
    assert judged.finished and judged.pixels.shape == (6, 64, 64, 3)
    told = capsys.readouterr().out
    assert "generator mostly: 54 of 60 images are of one colour" in told
    assert "not judged" in told and "collapsed" not in told
    nothing = finished(tmp_path / "nothing", [black] * 5)
    with pytest.raises(InputError, match="generator nothing: 5 of 5 images are of one colour"):
        judged_images(judged_generator(Study("tiny", "phantom"), nothing))


def test_a_collapsed_generator_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = finished(tmp_path / "same", [phantom(0)] * 40)
    judged = judged_images(judged_generator(Study("tiny", "phantom"), given))
    assert len(judged.pixels) == 40
    assert "the generator has collapsed: 40 images, 1 of them distinct" in capsys.readouterr().out
