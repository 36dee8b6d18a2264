"""From text and seeds to images: tokenizer, autoencoder, flow matching, pipeline folders, sampling."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_data_sources import write_folder

from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import networks
from medisyn_lib.models.tokens import learn_tokenizer, token_numbers
from medisyn_lib.pipeline import autoencoders
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.autoencoders import Latents, ShippedAutoencoder
from medisyn_lib.pipeline.classifiers import has_classes
from medisyn_lib.pipeline.denoisers import ContinuedDenoiser, denoiser_plan, snapshot_steps
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime.device import seeded
from medisyn_lib.runtime.paths import store_dir
from medisyn_lib.sampling.pipeline import generate, load_pipeline, sample_images
from medisyn_lib.training import loop
from medisyn_lib.training.autoencoder import load_shipped
from medisyn_lib.training.classifier import classifier_network, feature_maps
from medisyn_lib.training.denoiser import FlowMatching, denoiser_flops

PROMPTS = [
    "brain MRI, no abnormality",
    "fundus photograph showing no diabetic retinopathy, left eye",
    "endoscopy",
]


@pytest.fixture(scope="module")
def tiny() -> Path:
    """A generator of profile tiny, from the tests' store."""
    return Study("tiny", "phantom").generator().folder


@pytest.fixture(scope="module")
def pipeline(tiny: Path):
    return load_pipeline(str(tiny))


def test_a_continued_denoiser_starts_from_the_finished_weights_of_the_first() -> None:
    first = Study("tiny", "phantom").denoiser()
    step = replace(first.plan, steps=1, learning_rate=1e-6, seed=1)
    continued = ContinuedDenoiser(step, first)
    before, after = first.load().state_dict(), continued.load().state_dict()
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved < 1e-5
    assert continued.compute()["images"] == first.plan.batch
    assert continued.name != ContinuedDenoiser(replace(step, seed=2), first).name


def test_tokenizer_reads_any_text() -> None:
    tokenizer = learn_tokenizer(["chest X-ray, pneumonia", "brain MRI"] * 3)
    for text in ("Chest X-ray", "Ωmega ünïcode", "漢字 🙂", "\t a  b "):
        numbers = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in numbers[1:-1]
        assert "".join(tokenizer.decode(numbers[1:-1]).split()) == "".join(text.lower().split())
    assert token_numbers(tokenizer, ["a", ""]).shape == (2, networks.CONTEXT)
    with pytest.raises(InputError, match="48 tokens"):
        token_numbers(tokenizer, ["zebra quagga " * 30])


def test_a_tokenizer_is_the_same_each_time_it_is_learnt() -> None:
    """Byte pairs of equal counts were merged in an order that depended on the memory's addresses."""
    captions = [
        f"{name}, {finding.name}"
        for row in MODALITIES.values()
        for name in row.names
        for finding in row.findings
    ]
    learnt = {learn_tokenizer(captions * 5).backend_tokenizer.to_str() for _ in range(8)}
    assert len(learnt) == 1
    merges = json.loads(learnt.pop())["model"]["merges"]
    assert len(merges) > 100 and all(pair in merges for pair in (["c", "h"], ["f", "u"]))


def test_images_without_findings_adapt_the_autoencoder_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and caption alone: the autoencoder learns from pixels, no classifier has a part in it."""
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    lines = [
        {"file_name": f"{number}.png", "text": f"scan number {number}"} for number in range(60)
    ]
    write_folder(tmp_path / "scans", lines)
    study = Study("tiny", f"folder:{tmp_path / 'scans'}")
    assert not has_classes(study.image_set("first_stage"))
    assert has_classes(Study("tiny", "phantom").image_set("first_stage"))
    used, shipped = study.autoencoder.load().state_dict(), load_shipped().state_dict()
    assert any(not torch.equal(used[name], value) for name, value in shipped.items())
    with pytest.raises(InputError, match="at least 2 classes"):
        study.classifier().ensure()


def test_latents_are_written_in_blocks_as_one_array_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, shape = 2500, (networks.LATENT_CHANNELS, 16, 16)
    blocks: list[int] = []

    def encode(vae: object, images: np.ndarray, batch: int) -> np.ndarray:
        rows = images[:, 0, 0, 0]
        blocks.append(len(rows))
        return np.stack(
            [np.random.default_rng(row).standard_normal(shape, np.float32) for row in rows]
        )

    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(ImageSet, "load", lambda images: range(n))
    monkeypatch.setattr(ImageSet, "pixels", lambda images, rows: rows[:, None, None, None])
    monkeypatch.setattr(autoencoders, "encode", encode)
    latents = Latents(
        ShippedAutoencoder(autoencoders.shipped_sha256()),
        ImageSet("phantom", "generator", 64, n),
    )
    written = (latents.folder / "latents.npy").read_bytes()
    assert blocks == [1024, 1024, 452]
    np.save(
        tmp_path / "whole.npy",
        encode(None, np.arange(n)[:, None, None, None], 1).astype(np.float16),
    )
    assert written == (tmp_path / "whole.npy").read_bytes()


def test_the_features_of_a_classifier_halve_from_stage_to_stage() -> None:
    with seeded(0):
        net = classifier_network(5, width=8).eval()
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    stages, logits = feature_maps(net, images)
    shapes = [tuple(stage.shape[1:]) for stage in stages]
    assert shapes == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)]
    torch.testing.assert_close(logits, net(images))


def test_flow_matching_loss_by_hand() -> None:
    class Knows(torch.nn.Module):
        """Answers with the latents it was shown: x_t at time t."""

        def forward(self, x, time, text, return_dict):
            self.seen = x, time
            return (x,)

    knows = Knows()
    latents, noise = torch.full((2, 1, 1, 1), 3.0), torch.full((2, 1, 1, 1), -1.0)
    loss = FlowMatching(knows)(latents, noise, torch.tensor([0.0, 0.5]), torch.zeros(2, 1, 1))
    assert knows.seen[0].flatten().tolist() == [3.0, 1.0]  # x_0, then half-way to the noise
    assert knows.seen[1].tolist() == [0.0, 500.0]
    assert loss == pytest.approx(((3 - -4) ** 2 + (1 - -4) ** 2) / 2)


def test_operations_agree_with_a_count_by_hand() -> None:
    """The U-Net's cost is that of its convolutions and linear layers, counted from their shapes."""
    net = networks.denoiser(64, (64, 128), layers=1, text_width=32)
    total = 0.0
    hooks = []

    def count(module, inputs, output) -> None:
        nonlocal total
        per = np.prod(module.weight.shape)  # multiply-adds an output position
        places = (
            output.shape[-2] * output.shape[-1]
            if output.ndim == 4
            else output.numel() / output.shape[-1]
        )
        total += 2 * per * places

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            hooks.append(module.register_forward_hook(count))
    counted = denoiser_flops(net, 16, 32)
    # backward costs twice the forward, but for the first layer's input; attention's products come on top
    assert counted == pytest.approx(3 * total, rel=0.06)


def test_plain_diffusers_loads_it_without_this_package(tiny: Path, tmp_path: Path) -> None:
    script = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "medisyn_lib":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
try:
    import medisyn_lib
    raise SystemExit("still there")
except ModuleNotFoundError:
    pass
import torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained({str(tiny)!r})
image = pipe("brain MRI, no abnormality", num_inference_steps=2, guidance_scale=2.0,
             generator=torch.Generator().manual_seed(0)).images[0]
print(image.size)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip().endswith("(64, 64)"), done.stderr[-2000:]
    files = {path.suffix for path in tiny.rglob("*") if path.is_file()}
    assert files <= {".json", ".safetensors", ".md", ".txt"}
    card = (tiny / "README.md").read_text()
    assert "Not for clinical use" in card and "profile `tiny`" in card


def test_neither_batch_nor_order_matters(pipeline) -> None:
    prompts, seeds = PROMPTS * 3, list(range(20, 29))
    call = {"num_inference_steps": 4, "guidance_scale": 2.0}
    together = sample_images(pipeline, prompts, seeds, **call)
    backwards = sample_images(pipeline, prompts[::-1], seeds[::-1], batch=4, **call)[::-1]
    alone = np.concatenate(
        [sample_images(pipeline, [p], [s], **call) for p, s in zip(prompts, seeds, strict=True)]
    )
    for other in (backwards, alone):
        apart = np.abs(together.astype(int) - other)
        assert (apart > 1).mean() <= 0.001
    assert np.abs(together[0].astype(int) - together[3]).mean() > 1  # same prompt, other seed


def test_images_say_that_they_are_synthetic(tiny: Path, tmp_path: Path) -> None:
    paths = generate(str(tiny), PROMPTS[0], 2, 5, tmp_path / "out").paths
    assert [path.name for path in paths] == ["seed-000005.png", "seed-000006.png"]
    info = Image.open(paths[1]).text
    assert info["Synthetic"] == "true" and info["Seed"] == "6" and info["Prompt"] == PROMPTS[0]
    assert info["Model"] == tiny.name and "Not a patient" in info["Comment"]
    rows = list(csv.DictReader((tmp_path / "out" / "metadata.csv").open()))
    assert [row["file_name"] for row in rows] == [path.name for path in paths]
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_bad_prompts_and_models_are_refused(pipeline, tmp_path: Path) -> None:
    for prompts, word in (
        (["a", " "], "prompt 1 is empty"),
        ([], "0 prompts"),
        (["word " * 60], "48 tokens"),
    ):
        with pytest.raises(InputError, match=word):
            sample_images(pipeline, prompts, list(range(len(prompts))))
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline"})
    )
    for model in (str(tmp_path / "absent"), str(tmp_path)):
        with pytest.raises(InputError, match="no diffusers pipeline"):
            load_pipeline(model)


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "part, name", [("unet", "diffusion_pytorch_model"), ("text_encoder", "pytorch_model")]
)
def test_a_pipeline_with_pickled_weights_is_refused_unopened(
    tiny: Path, tmp_path: Path, part: str, name: str
) -> None:
    model, mark = tmp_path / "model", tmp_path / "unpickled"
    shutil.copytree(tiny, model)
    assert load_pipeline(str(model))  # the good twin
    for weights in (model / part).glob("*.safetensors"):
        weights.unlink()
    (model / part / f"{name}.bin").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(InputError, match="no diffusers pipeline with safetensors weights there"):
        load_pipeline(str(model))
    assert not mark.exists()
    pickle.loads((model / part / f"{name}.bin").read_bytes())  # noqa: S301
    assert mark.exists(), "the trap works"


@pytest.mark.parametrize("of", ["unet", "_class_name"])
def test_a_pipeline_with_code_of_its_own_is_refused_unread(
    tiny: Path, tmp_path: Path, of: str
) -> None:
    model, mark = tmp_path / "model", tmp_path / "imported"
    shutil.copytree(tiny, model)
    code = f"open({str(mark)!r}, 'w')\nclass Evil: pass\n"
    for place in (model / "evil.py", model / "unet" / "evil.py", model / "pipeline.py"):
        place.write_text(code)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {of: ["evil", "Evil"]}))
    with pytest.raises(InputError, match="no diffusers pipeline"):
        load_pipeline(str(model))
    assert not mark.exists()


def test_specialist_sees_its_modality_as_often_as_the_generalist() -> None:
    for profile in ("tiny", "quick", "full"):
        settings = PROFILES[profile]
        whole, part = denoiser_plan(settings), denoiser_plan(settings, "fundus")
        assert part.batch == whole.batch and abs(part.steps - whole.steps / 10) < 1
        assert snapshot_steps(whole)[-1] == whole.steps


def test_latents_and_captions_belong_together(tiny: Path) -> None:
    study = Study("tiny", "phantom")
    latents, (embeddings, caption) = study.latents.array(), study.embeddings.load()
    captions = study.images("generator")["caption"][:]
    assert (
        len(captions) == len(latents) == len(caption) and len(embeddings) == len(set(captions)) + 1
    )
    assert len({(c, n) for c, n in zip(captions, caption, strict=True)}) == len(set(captions))
    assert isinstance(latents, np.memmap) and latents.dtype == np.float16
    plan = loop.TrainingPlan(steps=1, batch=1, learning_rate=1.0)
    assert plan.ema_decay == 0.0


def test_a_snapshot_is_sampled_without_a_folder_of_its_own() -> None:
    """Its images are those of the folder that it would have, to the bit."""
    study = Study("tiny", "phantom")
    steps = study.denoiser().plan.steps
    snapshot, finished = (
        study.generator(after=snapshot_steps(study.denoiser().plan)[0]),
        study.generator(),
    )
    shutil.rmtree(store_dir() / snapshot.name, ignore_errors=True)  # of an earlier run of this test
    images = sample_prompts(snapshot, PROMPTS, seeds=[5, 6, 7])
    assert not snapshot.is_stored and snapshot.name != finished.name
    assert (images != sample_prompts(finished, PROMPTS, seeds=[5, 6, 7])).any()
    assert (images == sample_prompts(snapshot.folder, PROMPTS, seeds=[5, 6, 7])).all()
    assert snapshot.is_stored and snapshot.folder.name == snapshot.name
    last = study.generator(after=steps)
    assert last.after is None and last.name == finished.name
