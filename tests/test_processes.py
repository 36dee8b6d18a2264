"""Training on several processes: the same as on one, nothing lost, resumed by another number, a killed worker.

Accelerate's `--cpu --num_processes 2` starts one process (its launcher leaves several to MPI), so these start as
benchmarks/accelerate/two_cpus.yaml says, and each asserts how many there were.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from test_foreign_generators import saved
from test_training import PLAN, Regression, make_batch

from medisyn_lib.runtime import device, distributed
from medisyn_lib.training import checkpoint, loop
from medisyn_lib.training.text_encoder import train_text_encoder

TESTS = Path(__file__).parent
CONFIGURATIONS = sorted((TESTS.parent / "benchmarks" / "accelerate").glob("*.yaml"))
N = 20  # samples
# Trains as generators do, within cache_jointly. Each process notes the rows it saw; the last one may kill itself.
SCRIPT = """
import json, os, signal, sys
import torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_training import PLAN, Regression, make_batch
from medisyn_lib.models.weights import save_weights
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training import loop

notes, kill_at = Path(sys.argv[2]), int(sys.argv[3])
accel = accelerator()
net, seen = Regression(), []

def watched(rows, draws):
    if len(seen) + 1 == kill_at and accel.process_index + 1 == accel.num_processes:
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(rows.tolist())
    return make_batch(rows, draws)

def make(directory):
    loop.fit(net, watched, n=20, plan=PLAN, directory=directory, dtype=torch.float32)
    if accel.is_main_process:
        save_weights(net, directory / "net.safetensors")

distributed.cache_jointly("toy", {}, make, code=("medisyn_lib.errors",))
told = {"processes": accel.num_processes, "rows": seen}
(notes / f"{accel.process_index}.json").write_text(json.dumps(told))
distributed.close_processes()
"""


def launched(
    processes: int, place: Path, script: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script on CPU processes, with a store in `place`."""
    place.mkdir(exist_ok=True)
    (place / "script.py").write_text(script)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [
        str(TESTS.parent / "benchmarks" / "accelerate" / "two_cpus.yaml"),
        "--num_processes",
        str(processes),
    ]
    own = {
        "ACCELERATE_USE_CPU": "true",
        "MEDISYN_STORE": str(place / "store"),
        "OMP_NUM_THREADS": "1",
    }
    command += [str(place / "script.py"), str(TESTS), str(place), *arguments]
    return subprocess.run(
        command, env=os.environ | own, capture_output=True, text=True, timeout=550
    )


def notes(place: Path, processes: int) -> list[list[list[int]]]:
    """The rows of each step of each process of the last run, of which there were that many."""
    told = [json.loads((place / f"{rank}.json").read_text()) for rank in range(processes)]
    assert {one["processes"] for one in told} == {processes}
    return [one["rows"] for one in told]


def straight(place: Path) -> Regression:
    """The same training by this one process."""
    net = Regression()
    loop.fit(net, make_batch, n=N, plan=PLAN, directory=place, dtype=torch.float32)
    return net


def assert_trained_as_one(place: Path, alone: Path, net: Regression) -> None:
    """Weights and loss history of a launched run are those of one process, but for the order of sums."""
    (entry,) = (place / "store").glob("toy-*[0-9a-f]")
    for name, weight in load_file(entry / "net.safetensors").items():
        torch.testing.assert_close(weight, net.state_dict()[name], rtol=1e-5, atol=1e-6)
    both = [
        np.loadtxt(folder / loop.HISTORY, delimiter=",", skiprows=1) for folder in (entry, alone)
    ]
    np.testing.assert_allclose(*both, rtol=1e-4)
    assert len(both[0]) == PLAN.steps


@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.full)])
def test_processes_train_as_one_and_share_every_batch(processes: int, tmp_path: Path) -> None:
    done = launched(processes, tmp_path / "run", SCRIPT, "0")
    assert done.returncode == 0, done.stderr[-2000:]
    steps = zip(*notes(tmp_path / "run", processes), strict=True)
    for step, parts in enumerate(steps):
        assert [len(part) for part in parts] == [PLAN.batch // processes] * processes
        assert (
            np.concatenate(parts).tolist()
            == loop.sample_rows(PLAN.seed, N, step, PLAN.batch).tolist()
        )
    assert_trained_as_one(tmp_path / "run", tmp_path, straight(tmp_path))


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_killed_worker_ends_the_run_and_another_number_resumes_it(tmp_path: Path) -> None:
    place, died = tmp_path / "run", 7  # after the checkpoint of step 4
    done = launched(2, place, SCRIPT, str(died))
    assert done.returncode != 0 and "SIGKILL" in done.stderr, done.stderr[-2000:]
    store = place / "store"
    assert not list(store.glob("toy-*/manifest.json")) and list(
        store.glob(f"toy-*.tmp/{checkpoint.CHECKPOINT}")
    )
    done = launched(4, place, SCRIPT, "0")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [len(rows) for rows in notes(place, 4)] == [PLAN.steps - PLAN.checkpoint_every] * 4
    assert_trained_as_one(place, tmp_path, straight(tmp_path))


DEALT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from dataclasses import replace
from test_training import PLAN, Regression, make_batch
from medisyn_lib.models.weights import save_weights
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training import loop

trained = []

def training(seed):
    def make(directory):
        assert accelerator().num_processes == 1
        net, sizes = Regression(), []
        def watched(rows, draws):
            sizes.append(len(rows))
            return make_batch(rows, draws)
        loop.fit(net, watched, n=20, plan=replace(PLAN, seed=seed), directory=directory, dtype=torch.float32)
        save_weights(net, directory / "net.safetensors")
        trained.append([seed, *sizes])
    return lambda: distributed.cache_jointly("toy", {"seed": seed}, make, code=("medisyn_lib.errors",))

distributed.deal([training(seed) for seed in range(5)])
accel = accelerator()
told = {"processes": accel.num_processes, "rows": trained}
(Path(sys.argv[2]) / f"{accel.process_index}.json").write_text(json.dumps(told))
distributed.close_processes()
"""


@pytest.mark.timeout(600)
def test_whole_trainings_are_dealt_to_processes(tmp_path: Path) -> None:
    """Each is trained once, by one process that sees whole batches; weights are those of one process, to the bit."""
    done = launched(2, tmp_path / "run", DEALT)
    assert done.returncode == 0, done.stderr[-2000:]
    by_process = notes(tmp_path / "run", 2)
    seeds = [[seed for seed, *_ in trained] for trained in by_process]
    assert all(seeds) and sorted(seeds[0] + seeds[1]) == [0, 1, 2, 3, 4]
    sizes = {size for trained in by_process for _, *each in trained for size in each}
    assert sizes == {PLAN.batch}
    for entry in (tmp_path / "run" / "store").glob("toy-*[0-9a-f]"):
        seed = json.loads((entry / "manifest.json").read_text())["settings"]["seed"]
        net, plan = Regression(), replace(PLAN, seed=seed)
        alone = tmp_path / f"alone-{seed}"
        loop.fit(net, make_batch, n=N, plan=plan, directory=alone, dtype=torch.float32)
        for name, weight in load_file(entry / "net.safetensors").items():
            assert torch.equal(weight, net.state_dict()[name])


def test_fewer_trainings_than_processes_are_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered = SimpleNamespace(
        num_processes=4, process_index=1, device="cpu", wait_for_everyone=lambda: None
    )
    for module in (device, distributed):
        monkeypatch.setattr(module, "accelerator", lambda: offered)
    done: list[tuple[int, bool]] = []
    for tasks in (3, 6):
        distributed.deal([lambda n=n: done.append((n, device.is_alone())) for n in range(tasks)])
    assert done[:3] == [(0, False), (1, False), (2, False)]
    assert done[3:] == [(n, True) for n in (1, 5, 4, 3, 2, 0)] and not device.is_alone()


WORDS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_processes import learn_words
from medisyn_lib.models.weights import save_weights
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import accelerator

accel = accelerator()

def make(directory):
    encoder = learn_words(directory)
    if accel.is_main_process:
        save_weights(encoder, directory / "encoder.safetensors")

def who(rows):
    return np.stack([rows, np.full(len(rows), accel.process_index)], 1)

def make_array(directory):
    distributed.write_array(directory / "who.npy", 10, who)

array = distributed.cache_jointly("who", {}, make_array, code=("medisyn_lib.errors",))
entry = distributed.cache_jointly("words", {}, make, code=("medisyn_lib.errors",))
told = {"processes": accel.num_processes, "rows": [entry.name, array.name]}
(Path(sys.argv[2]) / f"{accel.process_index}.json").write_text(json.dumps(told))
distributed.close_processes()
"""


def learn_words(place: Path) -> torch.nn.Module:
    """A small text encoder, trained on five captions of made-up latents."""
    latents = np.random.default_rng(0).normal(size=(24, 16, 4, 4)).astype(np.float32)
    plan = loop.TrainingPlan(steps=6, batch=8, learning_rate=1e-3)
    with patch.object(
        loop, "compute_dtype", lambda: torch.float32
    ):  # else bfloat16, where a machine has it
        return train_text_encoder(
            [f"image {row % 5}" for row in range(24)], latents, plan, place, 32, 1
        )[1]


@pytest.mark.timeout(600)
def test_words_are_learnt_from_the_whole_batch_and_arrays_are_dealt_out(tmp_path: Path) -> None:
    """The contrastive loss sees the captions of both processes, else their weights would be others than one's."""
    done = launched(2, tmp_path / "run", WORDS)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = notes(tmp_path / "run", 2)
    entry, array = (tmp_path / "run" / "store" / str(name) for name in one)
    assert (
        one == other and (entry / "manifest.json").exists() and (array / "manifest.json").exists()
    )
    alone = learn_words(tmp_path).state_dict()
    for name, weight in load_file(entry / "encoder.safetensors").items():
        if "k_proj.bias" not in name:  # its gradient is rounding alone
            torch.testing.assert_close(
                weight, alone[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    history = [
        np.loadtxt(place / loop.HISTORY, delimiter=",", skiprows=1) for place in (entry, tmp_path)
    ]
    np.testing.assert_allclose(*history, rtol=1e-4)
    assert np.load(array / "who.npy").tolist() == [[row, row // 5] for row in range(10)]


UNSEEN = """
import json, sys
from pathlib import Path
from accelerate import PartialState
from medisyn_lib.runtime import distributed

distributed.cache_jointly("toy", {}, lambda directory: None, code=("medisyn_lib.errors",))
place = Path(sys.argv[2]) / f"{PartialState().process_index}.json"
place.write_text(json.dumps({"processes": PartialState().num_processes, "rows": []}))
distributed.close_processes()
"""
SLOW = """
import sys, time
from medisyn_lib.runtime import distributed
from medisyn_lib.runtime.device import accelerator

accel = accelerator()

def make(directory):
    time.sleep(3 * accel.process_index)
    (directory / "latents.npy").write_text("from every process, as latents are written")

distributed.cache_jointly("toy", {}, make, code=("medisyn_lib.errors",))
distributed.close_processes()
"""
# In float32, as bfloat16, where a machine has it, does not round alike in other batches.
SUITE = """
import sys
import torch
from medisyn_lib.cli.main import main
from medisyn_lib.training import loop

loop.compute_dtype = lambda: torch.float32
sys.exit(main(["train", "--profile", "tiny", *sys.argv[3:]]))
"""


@pytest.mark.full
def test_cache_jointly_sees_processes_on_cpus(tmp_path: Path) -> None:
    done = launched(2, tmp_path, UNSEEN)
    assert done.returncode == 0, done.stderr[-2000:]
    notes(tmp_path, 2)


@pytest.mark.full
def test_cache_jointly_waits_for_slower_processes(tmp_path: Path) -> None:
    done = launched(2, tmp_path, SLOW)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_accelerate_reads_the_configuration(path: Path) -> None:
    read = load_config_from_file(str(path))
    assert (
        read.num_processes >= read.num_machines >= 1
        and not read.use_cpu
        and read.mixed_precision == "no"
    )
    assert (read.distributed_type == "NO") == (read.num_processes == 1)
    assert read.num_machines == 1 or (read.main_process_ip and read.main_process_port)
    assert "run" in path.read_text().lower().partition("compute_environment")[0]


def test_there_is_a_configuration_for_each_kind_of_machine() -> None:
    assert [path.stem for path in CONFIGURATIONS] == [
        "one_gpu",
        "several_gpus",
        "several_nodes",
        "two_cpus",
    ]


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("from_base", [False, True], ids=["from-scratch", "from-a-base"])
def test_the_whole_suite_comes_out_alike_on_two_processes(tmp_path: Path, from_base: bool) -> None:
    """`medisyn train`: autoencoder, text encoder, generalist, specialist, their images and features."""
    base = ["--base", str(saved(tmp_path / "bases") / "sd15")] if from_base else []
    done = launched(2, tmp_path / "2", SUITE, *base)
    assert done.returncode == 0, done.stderr[-2000:]
    own = os.environ | {"MEDISYN_STORE": str(tmp_path / "1" / "store"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SUITE, "", "", *base]
    alone = subprocess.run(command, env=own, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr[-2000:]
    two, one = (tmp_path / number / "store" for number in "21")
    assert [len(run.stdout.split()) for run in (done, alone)] == [
        2,
        2,
    ]  # the generators' folders, said once
    for path in [*one.glob("latents-*/latents.npy"), *one.glob("*text-*/embeddings.npy")]:
        both = (np.load(place / path.relative_to(one)).astype(np.float32) for place in (one, two))
        np.testing.assert_allclose(*both, atol=0.02)
    for path in one.glob("*/history.csv"):
        both = (
            np.loadtxt(place / path.relative_to(one), delimiter=",", skiprows=1)
            for place in (one, two)
        )
        np.testing.assert_allclose(*both, rtol=1e-3)
    sides = (
        [np.load(path).astype(int) for path in place.glob("samples-*/samples.npy")]
        for place in (one, two)
    )
    for ours, theirs in zip(*(sorted(side, key=len) for side in sides), strict=True):
        assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 1
    assert (
        len([*one.glob("features-*/features.npy")])
        == len([*two.glob("features-*/features.npy")])
        > 0
    )
