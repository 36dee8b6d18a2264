"""`medisyn plan`: what it says is what is trained, and what cannot fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_foreign_generators import stable_diffusion

from medisyn_lib.cli import main
from medisyn_lib.errors import InputError
from medisyn_lib.pipeline.denoisers import write_compute
from medisyn_lib.pipeline.origins import FineTuning
from medisyn_lib.pipeline.run_plan import Memory, check_memory, peak_memory, trainings
from medisyn_lib.pipeline.study import Study
from medisyn_lib.training.loop import TrainingPlan
from medisyn_lib.training.memory import activation_bytes


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_STORE", str(tmp_path / "store"))


def test_the_plan_is_what_a_study_trains(tmp_path: Path) -> None:
    study = Study("tiny", "phantom")
    planned = {training.name: training for training in trainings(study)}
    artifacts = {
        "generalist, seed 0": study.denoiser(),
        "specialist fundus, seed 0": study.denoiser("fundus"),
        "long specialist fundus": study.denoiser("fundus", long=True),
        "classifier": study.classifier(),
        "transformer": study.transformer_encoder(),
    }
    assert {name: planned[name].plan for name in artifacts} == {
        name: artifact.plan for name, artifact in artifacts.items()
    }
    assert planned.keys() - artifacts == {
        "eleventh modality, tuned generalist",
        "eleventh modality, new specialist",
        "overfitted control",
        "overfitted to 96",
        "re-identification",
    }
    assert planned["long specialist fundus"].notebooks == ("02",)
    # What `TrainedDenoiser.make` writes after training.
    origin, plan = study.denoiser_origin, planned["generalist, seed 0"].plan
    write_compute(tmp_path, plan, float(origin.operations(origin.new(0))[0]))
    cost = json.loads((tmp_path / "compute.json").read_text())
    general = planned["generalist, seed 0"]
    assert (general.plan.steps, general.images) == (cost["steps"], cost["images"])
    assert general.flops == cost["flops"]


def test_activations_of_two_layers() -> None:
    with torch.device("meta"):
        net = torch.nn.Sequential(torch.nn.Linear(100, 50), torch.nn.ReLU(), torch.nn.Linear(50, 1))

    def most(n: int) -> int:
        images = torch.zeros(n, 100, device="meta")
        return activation_bytes(net, lambda: net(images).square().mean())

    # Two hidden values of 50 numbers live in the forward pass; a third, their gradient, in the backward pass.
    assert 2 * 50 * 4 <= (most(2000) - most(1000)) / 1000 <= 4 * 50 * 4
    assert all(parameter.grad is None for parameter in net.parameters())


def test_adapters_take_less_memory_than_the_whole_denoiser(tmp_path: Path) -> None:
    stable_diffusion().save_pretrained(tmp_path / "sd15")
    place, plan = (
        tmp_path / "sd15",
        TrainingPlan(steps=1, batch=4, learning_rate=1e-4, ema_decay=0.9),
    )
    peaks = []
    for text in (str(place), f"{place}?whole"):
        origin = Study("tiny", "phantom", base=text).denoiser_origin
        assert isinstance(origin, FineTuning)
        outline = origin.outline()
        assert origin.operations(outline)[0] == origin.operations(origin.new(0))[0]
        peaks.append(peak_memory(origin, plan, half=True))
    assert 0 < peaks[0].state < peaks[1].state
    weights = sum(p.numel() for p in outline.parameters())
    assert peaks[1].state == 5 * 4 * weights  # weights, gradients, two moments, average


def test_what_does_not_fit_is_refused_with_the_batch_that_would() -> None:
    memory = Memory(state=10 * 10**9, activations=16 * 10**9, batch=256)
    check_memory(memory, 27e9, "gpu")
    with pytest.raises(InputError, match=r"27\.0 GB .* denoiser_batch to 208 or less"):
        check_memory(memory, 24e9, "gpu")
    with pytest.raises(InputError, match="denoiser_widths"):
        check_memory(memory, 8e9, "gpu")


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ask = ["plan", "--profile", "tiny"]
    assert main.main([*ask, "--device", "cuda"]) == 2
    assert "give --memory and --tflops" in capsys.readouterr().err
    assert main.main([*ask, "--tflops", "0"]) == 2
    assert main.main([*ask, "--device", "cuda", "--memory", "1", "--tflops", "1"]) == 2
    assert "profile 'tiny': a step of" in capsys.readouterr().err
    assert main.main([*ask, "--tflops", "1", "--memory", "8"]) == 0
    said = capsys.readouterr().out
    assert "disk: " in said and "specialist fundus, seed 0" in said and "02: needs" in said
