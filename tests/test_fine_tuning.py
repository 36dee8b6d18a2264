"""Fine-tuning from a base: Stable Diffusion 1.5 in miniature, with random weights, at 32 pixels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from test_foreign_generators import saved, stable_diffusion

from medisyn_lib.cli import main
from medisyn_lib.errors import InputError
from medisyn_lib.evaluation.memorization.membership import denoising_losses
from medisyn_lib.models import bases, networks
from medisyn_lib.models.bases import Base, find_base
from medisyn_lib.models.tokens import token_numbers
from medisyn_lib.pipeline import disk_space
from medisyn_lib.pipeline.artifacts import ImageSet
from medisyn_lib.pipeline.autoencoders import BaseAutoencoder, Latents
from medisyn_lib.pipeline.denoisers import (
    TrainedDenoiser,
    denoiser_plan,
    snapshot_steps,
    trained_denoiser,
)
from medisyn_lib.pipeline.disk_space import check_room, pipelines_of, stored
from medisyn_lib.pipeline.embeddings import BaseEmbeddings
from medisyn_lib.pipeline.generators import Generator, SamplingCall
from medisyn_lib.pipeline.judged import TRAINED, judged_generator
from medisyn_lib.pipeline.origins import FineTuning
from medisyn_lib.pipeline.overfitted import overfitted_denoiser, overfitted_plan
from medisyn_lib.pipeline.study import Study
from medisyn_lib.profiles import PROFILES
from medisyn_lib.runtime.device import seeded
from medisyn_lib.runtime.provenance import run_name
from medisyn_lib.sampling.pipeline import load_pipeline, sample_images
from medisyn_lib.training import fine_tuning, loop
from medisyn_lib.training.adapters import add_adapters, fuse_adapters
from medisyn_lib.training.fine_tuning import fine_tune, min_snr_weights

SIZE = 32  # pixels
PLAN = loop.TrainingPlan(steps=20, batch=4, learning_rate=5e-3, ema_decay=0.9)


class Echo(torch.nn.Module):
    """A denoiser that gives back what it is shown."""

    def forward(self, noisy: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor]:
        return (noisy,)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bases"))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


class Parts(NamedTuple):
    """What a denoiser is fine-tuned with."""

    base: Base
    denoiser: TrainedDenoiser
    generator: Generator


def parts(text: str, plan: loop.TrainingPlan = PLAN) -> Parts:
    """As a study puts them together, at a smaller size."""
    base, images = find_base(text, SIZE), ImageSet("phantom", "generator", SIZE, 2)
    autoencoder, embeddings = BaseAutoencoder(base), BaseEmbeddings(base, images)
    denoiser = trained_denoiser(
        FineTuning(base, SIZE),
        plan=plan,
        modality=None,
        latents=Latents(autoencoder, images),
        embeddings=embeddings,
        images=images,
        snapshots=(plan.steps,),
    )
    call = SamplingCall(2, 4.0)
    generator = Generator(
        autoencoder, embeddings, denoiser, call, "tiny", None, 0, None, source="phantom", base="b"
    )
    return Parts(base, denoiser, generator)


@pytest.mark.parametrize("learns", bases.PREDICTIONS)
def test_the_loss_is_what_the_scheduler_asks_for(learns: str) -> None:
    """By hand at a step that keeps proportion a of the variance: noisy is sqrt(a) x + sqrt(1 - a) e."""
    scheduler = DDPMScheduler(prediction_type=learns)
    a = float(scheduler.alphas_cumprod[300])
    x, e, ratio = 3.0, -2.0, a / (1 - a)
    noisy = x * a**0.5 + e * (1 - a) ** 0.5
    target, weight = {
        "epsilon": (e, min(ratio, 5) / ratio),
        "v_prediction": (e * a**0.5 - x * (1 - a) ** 0.5, min(ratio, 5) / (ratio + 1)),
        "flow_prediction": (e - x, 1.0),
    }[learns]
    if learns == "flow_prediction":
        noisy = 0.7 * x + 0.3 * e
    time = torch.tensor([300.0 if learns == "flow_prediction" else 300])
    loss = fine_tuning.DenoisingLoss(Echo(), scheduler)(
        torch.full((1, 4, 2, 2), x), torch.full((1, 4, 2, 2), e), time, torch.zeros(1, 1, 1)
    )
    assert float(loss) == pytest.approx(weight * (noisy - target) ** 2, rel=1e-5)


def test_images_with_little_noise_count_for_less() -> None:
    """From a signal-to-noise ratio of 5 on; below it noise counts whole, and clean latents by the ratio."""
    scheduler = DDPMScheduler()
    signal = scheduler.alphas_cumprod.numpy()
    ratio, time = signal / (1 - signal), torch.tensor([0, 100, 300, 999])
    weights = min_snr_weights(scheduler, time).numpy()
    assert weights[0] == pytest.approx(5 / ratio[0], rel=1e-4) and weights[0] < 0.01
    assert weights[2:].tolist() == [1, 1]
    of_clean_latents = weights * ratio[time]
    np.testing.assert_allclose(of_clean_latents, np.minimum(ratio[time], 5), rtol=1e-4)
    with_velocity = min_snr_weights(DDPMScheduler(prediction_type="v_prediction"), time).numpy()
    np.testing.assert_allclose(with_velocity * (ratio[time] + 1), of_clean_latents, rtol=1e-4)


def test_adapters_change_nothing_until_they_are_trained_and_then_stay_when_fused() -> None:
    with seeded(0):
        net = stable_diffusion().unet.eval()
        latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    before = net(latents, 10, text, return_dict=False)[0].detach()
    names = set(net.state_dict())
    add_adapters(net, 0)
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert torch.equal(net(latents, 10, text, return_dict=False)[0], before)
    with torch.no_grad(), seeded(1):
        for weight in trained.values():
            weight.normal_(std=0.1)
    with_adapters = net(latents, 10, text, return_dict=False)[0].detach()
    assert (with_adapters - before).abs().max() > 0.01
    fused = fuse_adapters(net)(latents, 10, text, return_dict=False)[0]
    torch.testing.assert_close(fused, with_adapters, atol=1e-4, rtol=1e-3)
    assert set(net.state_dict()) == names


@pytest.mark.parametrize("how", ["", "?whole"])
def test_the_denoiser_learns_and_the_rest_stays(place: Path, how: str) -> None:
    made = parts(f"{place / 'sd15'}{how}")
    folder = made.generator.folder
    before, after = (load_pipeline(str(where)) for where in (place / "sd15", folder))
    for part in ("vae", "text_encoder"):
        ours, theirs = getattr(after, part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    old = before.unet.state_dict()
    moved = {name for name, p in after.unet.state_dict().items() if not torch.equal(p, old[name])}
    convolutions = {name for name in moved if ".conv" in name}
    assert len(moved) > 30 and bool(convolutions) == bool(how)
    loss = made.denoiser.history()["loss"].to_numpy()
    assert len(loss) == PLAN.steps and loss[-8:].mean() < loss[:8].mean()
    untrained = made.denoiser.load(0).state_dict()
    assert all(torch.equal(weight, old[name]) for name, weight in untrained.items())
    images = sample_images(after, ["brain MRI, tumour"], [0], num_inference_steps=2)
    assert images.shape == (1, SIZE, SIZE, 3)  # the base samples at 16 pixels
    stored = load_file(made.denoiser.folder / f"step-{PLAN.steps}.safetensors")
    assert all("lora_" in name for name in stored) is not bool(how)
    card = (folder / "README.md").read_text("utf-8")
    assert "the denoiser of `b`, fine-tuned" in card and "license: other" in card


def test_latents_and_embeddings_are_those_of_the_base(place: Path) -> None:
    made, pipeline = parts(str(place / "sd15")), load_pipeline(str(place / "sd15"))
    images = made.denoiser.images
    with torch.no_grad():
        pixels = torch.from_numpy(images.pixels(np.array([3]))).permute(0, 3, 1, 2) / 127.5 - 1
        mean = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
        prompt = images.column("caption")[3]
        words = pipeline.encode_prompt(str(prompt), "cpu", 1, True, negative_prompt="")
    latents = made.denoiser.latents.array()[3]
    np.testing.assert_allclose(latents, mean[0].numpy(), atol=0.02)  # bfloat16, then float16
    embeddings, caption = made.denoiser.embeddings.load()
    np.testing.assert_allclose(embeddings[caption[3]], words[0][0].numpy(), atol=2e-3)
    np.testing.assert_allclose(embeddings[-1], words[1][0].numpy(), atol=2e-3)


@pytest.mark.parametrize("adapters", [True, False])
def test_it_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapters: bool
) -> None:
    """To the same weights, bit for bit; frozen ones are not in the checkpoint."""
    plan = loop.TrainingPlan(5, 4, 1e-3, ema_decay=0.9, checkpoint_every=2)
    rng = np.random.default_rng(0)
    latents, words = rng.normal(size=(6, 4, 8, 8)), rng.normal(size=(3, 77, 32))
    images = latents.astype(np.float16), words.astype(np.float16), np.array([0, 1, 0, 1, 0, 1])

    def trained(folder: Path) -> dict[str, torch.Tensor]:
        with seeded(0):
            net = stable_diffusion().unet
        net = add_adapters(net, 0) if adapters else net
        fine_tune(net, DDPMScheduler(), *images, plan, folder)
        return net.state_dict()

    undisturbed, add_noise = trained(tmp_path / "whole"), DDPMScheduler.add_noise
    calls = iter(range(100))

    def fails_at_the_fourth(*arguments: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return add_noise(*arguments)

    monkeypatch.setattr(DDPMScheduler, "add_noise", fails_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut")
    (checkpoint,) = (tmp_path / "cut").glob("checkpoint*")
    model = [name for name in load_file(checkpoint) if name.startswith("model.")]
    assert model and all("lora_" in name for name in model) is adapters
    resumed = trained(tmp_path / "cut")
    assert all(torch.equal(weight, undisturbed[name]) for name, weight in resumed.items())


def test_a_base_that_learns_flow_is_fine_tuned_as_it_learnt(tmp_path: Path) -> None:
    with seeded(0):
        flow = stable_diffusion()
    flow.scheduler = networks.scheduler()
    flow.save_pretrained(tmp_path / "flow")
    made = parts(str(tmp_path / "flow"), loop.TrainingPlan(2, 4, 1e-3))
    scheduler = load_pipeline(str(made.generator.folder)).scheduler
    assert (
        scheduler.config.prediction_type == "flow_prediction" and scheduler.config.use_flow_sigmas
    )


def test_long_captions_are_cut_counted_and_read_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = stable_diffusion()
    short.tokenizer.model_max_length = 5
    short.save_pretrained(tmp_path / "short")
    made = parts(str(tmp_path / "short"), loop.TrainingPlan(1, 4, 1e-3))
    assert made.denoiser.embeddings.load().embeddings.shape[1] == 5
    said = capsys.readouterr().err
    assert "base short: " in said and "longer than the 5 tokens that it reads" in said
    pipeline = load_pipeline(str(made.generator.folder))
    long = "brain MRI, a tumour of the left side and more words than it reads"
    numbers = token_numbers(pipeline.tokenizer, [long])
    assert numbers.shape == (1, 5) and numbers[0, -1] == pipeline.tokenizer.eos_token_id
    assert sample_images(pipeline, [long], [0], num_inference_steps=1).shape == (1, SIZE, SIZE, 3)
    with pytest.raises(InputError, match="longer than the model's 5 tokens"):
        token_numbers(short.tokenizer, [long])  # of any other model they are refused, as before


def test_losses_of_membership_are_those_of_the_base() -> None:
    """Of noise at three time steps, without weights: nothing is told apart where the denoiser echoes."""
    scheduler, rng = DDPMScheduler(), torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 2, 2, generator=rng) for _ in range(2))
    each = denoising_losses(Echo(), scheduler, latents, torch.zeros(3, 1, 1), noise)
    expected = [
        (scheduler.add_noise(latents, noise, torch.tensor([step])) - noise).square().mean((1, 2, 3))
        for step in (300, 500, 700)
    ]
    np.testing.assert_allclose(each, torch.stack(expected).mean(0).numpy(), rtol=1e-5)


def test_everything_of_a_study_starts_from_the_base(place: Path) -> None:
    base = str(place / "sd15")
    study = Study("tiny", "phantom", base=base)
    origin = study.denoiser_origin
    assert isinstance(origin, FineTuning) and origin.base == find_base(base, 64)
    denoisers = [
        study.denoiser(),
        study.denoiser("fundus"),
        study.denoiser("fundus", long=True),
        overfitted_denoiser(study, np.arange(4)),
    ]
    assert all(denoiser.denoiser_origin is origin for denoiser in denoisers)
    assert {one.plan.learning_rate for one in denoisers[:3]} == {1e-4}  # type: ignore[attr-defined]
    assert overfitted_plan(study).learning_rate == pytest.approx(3e-4)
    assert judged_generator(Study("quick", "phantom", base=base)).name == TRAINED
    assert study.out_folder("").name == "tiny-phantom-sd15"
    assert study.provenance(1.0, 1.0)["base"] == "sd15" and "from sd15" in study.scale
    assert "base" not in Study("tiny", "phantom").provenance(1.0, 1.0)
    whole = Study("tiny", "phantom", base=f"{base}?whole")
    assert whole.denoiser().settings() != study.denoiser().settings()
    random = [origin.random(seed).state_dict() for seed in (0, 0, 1)]
    name = "conv_in.weight"
    assert torch.equal(random[0][name], random[1][name])
    assert not torch.equal(random[0][name], random[2][name])
    with pytest.raises(InputError, match="brings its own autoencoder"):
        Study("tiny", "phantom", autoencoder_from_scratch=True, base=base)


def test_a_base_is_known_by_its_files_wherever_it_lies(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "sd15", tmp_path / "moved")
    one, other = find_base(str(place / "sd15"), SIZE), find_base(str(tmp_path / "moved"), SIZE)
    assert one.key() == other.key() and one.shape == (16, 77)
    assert one.size == sum(path.stat().st_size for path in (place / "sd15").glob("*/*.safetensors"))


def test_a_base_is_named_without_its_folders(place: Path) -> None:
    for text, label in (
        (str(place / "sd15"), "sd15"),
        (f"{place / 'sd15'}?whole", "sd15?whole"),
        ("owner/name", "owner/name"),
        ("", ""),
    ):
        assert bases.base_label(text) == label
    assert find_base(f"{place / 'sd15'}?whole", SIZE).label == "sd15?whole"
    assert run_name("gpu", "npz:/a/panel", "owner/name") == "gpu-npz-panel-owner-name"


def edited(place: Path, target: Path, part: str, **changed: Any) -> str:
    """A copy of the miniature with other settings of a part."""
    shutil.copytree(place / "sd15", target)
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    file = target / part / name if part else target / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    return str(target)


def test_bases_that_cannot_be_had_are_refused(place: Path, tmp_path: Path) -> None:
    def refused(base: str, message: str, size: int = SIZE) -> None:
        with pytest.raises(InputError, match=message) as caught:
            find_base(base, size)
        assert "\n" not in str(caught.value)

    refused(str(place / "sdxl"), "is a StableDiffusionXLPipeline; give a StableDiffusionPipeline")
    (tmp_path / "dit").mkdir()
    (tmp_path / "dit" / "model_index.json").write_text('{"_class_name": "DiTPipeline"}')
    refused(str(tmp_path / "dit"), "is a DiTPipeline; give a")
    (tmp_path / "empty").mkdir()
    refused(str(tmp_path / "empty"), "has no model_index.json; give a whole pipeline folder")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "model_index.json").write_text("{")
    refused(str(tmp_path / "damaged"), "its model_index.json is damaged")
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(place / "sd15", tmp_path / f"no-{part}")
        shutil.rmtree(tmp_path / f"no-{part}" / part)
        refused(str(tmp_path / f"no-{part}"), f"has no {part}/")
    shutil.copytree(place / "sd15", tmp_path / "pickled")
    weights = tmp_path / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    refused(str(tmp_path / "pickled"), "its unet has no weights as safetensors")
    other = edited(place, tmp_path / "sample", "scheduler", prediction_type="sample")
    refused(other, "its denoiser predicts sample; give one of epsilon")
    refused(edited(place, tmp_path / "inpaint", "unet", in_channels=9), "takes 9 channels")
    refused(edited(place, tmp_path / "text", "unet", cross_attention_dim=64), "do not fit")
    other = edited(place, tmp_path / "t5", "", text_encoder=["transformers", "T5EncoderModel"])
    refused(other, "its text_encoder is a T5EncoderModel; give one with a CLIPTextModel")
    refused(
        edited(place, tmp_path / "reads", "text_encoder", max_position_embeddings=40), "reads 40"
    )
    shutil.copytree(place / "sd15", tmp_path / "bare")
    (tmp_path / "bare" / "unet" / "config.json").write_text("{}")
    refused(str(tmp_path / "bare"), "its settings lack 'in_channels'; save it again")
    refused(str(place / "sd15"), "sides that 8 divides, and the profile's have 36", 36)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ConnectionError("offline"), "check the name and the network, or give a folder"),
        (PermissionError("Access to model o/n is gated"), "it is gated: accept its terms"),
    ],
)
def test_a_hub_id_that_cannot_be_had_says_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    import huggingface_hub

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(InputError, match=f"base 'o/n': could not be had from the hub .*{remedy}"):
        find_base("o/n", SIZE)


def test_a_hub_id_is_checked_by_its_settings_before_its_weights_are_downloaded(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[list[str]] = []

    def downloads(model: str, allow_patterns: list[str], **_: Any) -> str:
        asked.append(allow_patterns)
        return str(place / model.partition("/")[2])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloads)
    with pytest.raises(InputError, match="base 'o/sdxl': is a StableDiffusionXLPipeline"):
        find_base("o/sdxl", SIZE)
    assert len(asked) == 1 and not any("safetensors" in pattern for pattern in asked[0])
    assert find_base("o/sd15", SIZE).name == "o/sd15" and len(asked) == 3
    assert all("safetensors" in pattern for pattern in asked[2])


def test_without_peft_the_whole_denoiser_can_be_trained(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match="peft, which is not installed; pip install peft, or write"
    ):
        find_base(str(place / "sd15"), SIZE)
    assert find_base(f"{place / 'sd15'}?whole", SIZE).whole


def test_a_full_disk_is_named_before_anything_starts(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find_base(str(place / "sd15"), SIZE)
    sampled = pipelines_of(PROFILES["gpu"])
    counts = {name: (len(made), len(stored(made))) for name, made in sampled.items()}
    assert counts["train"] == (33, 33) and counts["03"] == (33 + 8 * 5, 33)
    assert counts["05"] == (1 + 9, 2) and len(stored(set().union(*sampled.values()))) == 34
    plan = denoiser_plan(PROFILES["gpu"])
    assert len(snapshot_steps(plan)) == disk_space.SNAPSHOTS
    free = 33 * base.size
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    check_room(base, "gpu", ["train"])
    with pytest.raises(InputError, match="GB are free; free some, set MEDISYN_STORE"):
        check_room(base, "gpu", ["train", "05"])


def test_a_card_without_bfloat16_is_said_to_compute_in_float32(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = SimpleNamespace(device=torch.device("cuda:0"), is_main_process=True)
    monkeypatch.setattr(fine_tuning, "accelerator", lambda: gpu)
    for dtype, said in ((torch.float32, "has no bfloat16"), (torch.bfloat16, "")):
        monkeypatch.setattr(fine_tuning, "compute_dtype", lambda dtype=dtype: dtype)
        fine_tuning._say_precision()
        err = capsys.readouterr().err
        assert (said in err) and bool(err) == bool(said)


@pytest.mark.parametrize("verb", [["reproduce"], ["train"]])
def test_the_command_line_refuses_in_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    for base, message in (
        (str(tmp_path / "absent"), "no such folder, nor a hub id"),
        (str(place), "has no model_index.json"),
        (str(place / "sdxl"), "is a StableDiffusionXLPipeline"),
    ):
        assert main.main([*verb, "--profile", "tiny", "--base", base]) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_base_of_another_size_is_said_to_be(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from medisyn_lib.cli import options

    text = options.checked_base(f"{place / 'sd15'}?whole", "tiny", ["01"])
    assert text.endswith("sd15?whole") and not Path(text).is_absolute()
    said = capsys.readouterr().err
    assert (
        said
        == "medisyn: base sd15?whole: was made for images of 16 pixels; trained on, and sampled, at 64\n"
    )
    assert options.checked_base("", "tiny", []) == ""


def test_half_precision_weights_are_trained_in_float32(place: Path, tmp_path: Path) -> None:
    half = load_pipeline(str(place / "sd15")).to(torch.float16)
    half.save_pretrained(tmp_path / "half", variant="fp16")
    base = find_base(str(tmp_path / "half"), SIZE)
    net = FineTuning(base, SIZE).new(0)
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert isinstance(net, UNet2DConditionModel)
    whole = find_base(str(place / "sd15"), SIZE)
    assert base.size == pytest.approx(whole.size, rel=0.05)  # in float32
