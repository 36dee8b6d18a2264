"""Which generator is judged; and the flagship: stock parts, small, of known patients, remade by one command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import remake_flagship
import torch
from PIL import Image

from medisyn_lib.cli import main, options
from medisyn_lib.data import sources
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization import flagship_index
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks
from medisyn_lib.pipeline import flagship, judged
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.denoisers import ContinuedDenoiser
from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.origins import DenoiserShape
from medisyn_lib.pipeline.study import Study
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images, sampling_settings
from medisyn_lib.training.autoencoder import load_shipped

LIMIT = 30e6  # bytes of all that ships of it


@pytest.mark.parametrize(
    ("profile", "data", "name", "meant"),
    [
        ("quick", "phantom", "", "flagship"),
        ("quick", "phantom", "trained", "trained"),
        ("tiny", "phantom", "", "trained"),
        ("tiny", "phantom", "flagship", "flagship"),
        ("full", "phantom", "", "trained"),
        ("gpu", "phantom", "", "trained"),
        ("quick", "npz:somewhere", "", "trained"),
        ("quick", "phantom", "owner/name", "owner/name"),
    ],
)
def test_a_name_means_one_generator(profile: str, data: str, name: str, meant: str) -> None:
    generator = judged_generator(Study(profile, data), name)
    assert generator.name == meant
    assert generator.is_given == (meant == "owner/name")
    assert generator.scale.endswith("flagship") == generator.is_flagship


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_what_copies_the_flagship_copies_from_its_own_training_phantoms(profile: str) -> None:
    """`full` has other phantoms; `quick` has the first of the same."""
    study = Study(profile, "phantom")
    copied = judged_generator(study, "flagship").copied_images
    assert copied.key() | {"images": 0} == flagship.training_images().key() | {"images": 0}
    assert copied.per_modality == min(study.settings.images, flagship.PER_MODALITY)
    assert (copied == study.image_set("generator")) == (profile == "quick")
    assert judged_generator(study, "trained").copied_images == study.image_set("generator")


@pytest.mark.parametrize(("profile", "data"), [("quick", "npz:somewhere"), ("gpu", "phantom")])
def test_the_flagship_draws_phantoms_of_its_size_alone(profile: str, data: str) -> None:
    with pytest.raises(InputError, match="generator 'flagship': draws phantoms of 64 pixels"):
        judged_generator(Study(profile, data), "flagship")


def test_the_command_line_calls_them_by_the_same_names() -> None:
    assert (options.FLAGSHIP, options.TRAINED) == (judged.FLAGSHIP, judged.TRAINED)


def test_one_made_elsewhere_has_no_known_cost_and_is_found_where_it_lies(tmp_path: Path) -> None:
    given = judged_generator(Study("quick", "phantom"), str(tmp_path))
    assert given.models == [str(tmp_path)] and given.flops == 0 and given.guidance is None
    assert given.provenance(1.0, 0.0)["generator"] == tmp_path.name
    assert judged_generator(given.study, "a/b").provenance(1.0, 0.0)["generator"] == "a/b"


def test_the_flagship_is_stock_and_small_and_its_parts_are_those_that_trained_it() -> None:
    files = [path for path in flagship.folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    assert not [path for path in files if path.suffix not in (".json", ".safetensors", ".md")]
    pipeline = load_pipeline(str(flagship.folder()))
    shape = DenoiserShape(flagship.SIZE, flagship.WIDTHS, TEXT_WIDTH).new(0)
    assert {n: x.shape for n, x in pipeline.unet.state_dict().items()} == {
        n: x.shape for n, x in shape.state_dict().items()
    }
    assert {x.dtype for x in pipeline.unet.parameters()} == {torch.float32}
    assert {x.dtype for x in pipeline.text_encoder.parameters()} == {torch.float32}
    for name, value in load_shipped().state_dict().items():
        torch.testing.assert_close(pipeline.vae.state_dict()[name], value)
    expected = dict(networks.scheduler().config)
    del expected["_use_default_values"]  # which are written out where a configuration was stored
    assert expected.items() <= dict(pipeline.scheduler.config).items()


def test_the_flagship_follows_its_prompts_and_looks_like_phantoms() -> None:
    """Not flat, and in mean colour nearer to its own modality than to most others."""
    prompts = [f"{row.names[0]}, {row.findings[0].name}" for row in MODALITIES.values()]
    model = str(flagship.folder())
    images = sample_images(load_pipeline(model), prompts, range(10), **sampling_settings(model))
    real = ImageSet("phantom", "calibration", flagship.SIZE, 6)
    modality = real.column("modality")
    means = {name: real.pixels()[modality == name].mean((0, 1, 2)) for name in MODALITIES}
    colours = np.stack([means[name] for name in MODALITIES])
    distance = np.linalg.norm(images.mean((1, 2))[:, None] - colours, axis=2)
    rank = (distance < np.diag(distance)[:, None]).sum(1)
    assert images.std((1, 2, 3)).min() > 10 and (rank <= 2).mean() >= 0.8


def test_its_training_images_are_known_patients_and_the_profiles_take_the_first_of_them() -> None:
    whole = ImageSet("phantom", "generator", flagship.SIZE, 4)
    part = ImageSet("phantom", "generator", flagship.SIZE, 2)
    assert set(part.column("image_id")) < set(whole.column("image_id"))
    assert flagship.training_images().per_modality == flagship.PER_MODALITY == 3000
    test = sources.load("phantom", role="test", size=flagship.SIZE, per_modality=4)
    assert not set(test["patient_id"][:]) & set(whole.column("patient_id"))


def test_what_its_training_cost_is_what_its_plan_says_and_its_card_tells() -> None:
    cost, trained = flagship.compute(), flagship.continued_denoiser()
    plans = trained.first.plan, trained.plan
    assert cost["steps"] == sum(plan.steps for plan in plans)
    assert cost["images"] == sum(plan.steps * plan.batch for plan in plans)
    assert cost["flops"] == cost["images"] * cost["flops_per_image"]
    card = (flagship.folder() / "README.md").read_text("utf-8")
    assert f"{cost['images']:,} images" in card and "Not for clinical use" in card
    assert "python benchmarks/remake_flagship.py" in card


def test_generate_draws_with_the_flagship_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "--prompt", "brain MRI, no abnormality", "-n", "1"]
    assert main.main([*command, "--out", str(tmp_path)]) == 0
    assert "1 synthetic images written" in capsys.readouterr().out
    with Image.open(tmp_path / "seed-000000.png") as image:
        assert image.size == (64, 64) and image.text["Model"] == "flagship"


def test_remaking_writes_a_whole_pipeline_and_keeps_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flagship, "folder", lambda: tmp_path / "flagship")
    monkeypatch.setattr(flagship_index, "PATH", tmp_path / "index.npy")
    few = [np.zeros((3, 144), np.int8), np.ones((2, 144), np.int8)]
    monkeypatch.setattr(flagship_index, "describe_training_phantoms", lambda: few)
    (tmp_path / "flagship" / "unet").mkdir(parents=True)
    (tmp_path / "flagship" / "unet" / "stale.bin").write_bytes(b"")
    (tmp_path / "flagship" / "README.md").write_text("card")
    first = Study("tiny", "phantom").denoiser()
    trained = ContinuedDenoiser(replace(first.plan, steps=2, seed=1), first)
    remake_flagship.ship(trained)
    assert not (tmp_path / "flagship" / "unet" / "stale.bin").exists()
    assert np.load(tmp_path / "index.npy").shape == (5, 144)
    assert (tmp_path / "flagship" / "README.md").read_text() == "card"
    assert sampling_settings(str(tmp_path / "flagship"))["guidance_scale"]
    cost = json.loads((tmp_path / "flagship" / "compute.json").read_text())
    assert cost["steps"] == first.plan.steps + 2 and cost["seconds"] > trained.compute()["seconds"]
    assert load_pipeline(str(tmp_path / "flagship")).unet.dtype == torch.float32
    written = [path.read_text() for path in (tmp_path / "flagship").rglob("*config.json")]
    assert len(written) == 5 and not any('"/' in text for text in written)  # no folder of ours
