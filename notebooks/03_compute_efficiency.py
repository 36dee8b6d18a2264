# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 Compute: what does one model for all modalities cost, against one model each?
#
# images → autoencoder → text encoder → **denoisers (you are here)** → samples → distances → verdict
#
# > One generalist is substantially more computationally efficient than a coordinated suite of task-specific models.
# > (after the abstract of arXiv 2405.09806, version 7)
#
# **Claim.** To reach the quality of specialists, one for each modality, a generalist needs substantially less compute
# than training all of them.
#
# **Protocol.** Compute is counted in floating-point operations (FLOPs) of training. Both sides are taken at their own
# best of eight checkpoints, chosen on calibration patients. A specialist costs what it took until then; its quality is
# the kernel distance (KID) of its images from held-out real ones. The generalist costs what it took until its best so
# far came as near in at least 80% of the modalities, read off the falling (isotonic) curve. The saving is the suite's
# cost, a specialist for each modality, over the generalist's; of the denoisers alone, as both share one autoencoder,
# whose cost stands in a table. A generalist that never comes as near has saved at most what its whole training allows:
# evidence against the claim. The interval is over training seeds; with a single seed over patients, and then it speaks
# for these very networks. Each specialist has seen its modality as often as the whole generalist has.
#
# **Controls**, through the same code and measured distances. Positive: ten copies of one modality under ten names,
# which one network serves, must show a saving of about 10. Negative: ten unshared networks presented as one must show
# about 1. "About" is within a factor of 1.5, of the geometric mean over modalities.
#
# The protocol is **our own**; the paper's is not public to us. Phantoms are not patients. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # unused here: the cost of a generator made elsewhere is not known
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>
watts: float = 65.0  # assumed power of the machine at work, for the estimate of energy

# %%
import time

from medisyn_lib.claims import c03_compute_efficiency
from medisyn_lib.claims.evidence import evidence_of_training
from medisyn_lib.claims.floor import better_covered
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import findings_of, published, verdicts
from medisyn_lib.data import check
from medisyn_lib.evaluation import efficiency, serving, training_costs
from medisyn_lib.evaluation.added_modality import distances_while_learning, forgetting
from medisyn_lib.evaluation.judged_coverage import coverage_of_pair
from medisyn_lib.evaluation.own_best import choose_checkpoints
from medisyn_lib.evaluation.planted_sharing import plant_sharing
from medisyn_lib.evaluation.quality_curves import curve_points, sample_quality_curves
from medisyn_lib.pipeline.added_modality import LEARNERS, added_modality_denoiser, choose_origin
from medisyn_lib.pipeline.denoisers import flops_of
from medisyn_lib.pipeline.paired_samples import evaluation_splits
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities, train_denoisers
from medisyn_lib.reporting.figures import f03_compute_efficiency

print(c03_compute_efficiency.RULE.text)

# %%
start = time.perf_counter()
study = Study(profile, data, base=base)
folder = study.out_folder(out)
seeds = study.settings.seeds
splits = evaluation_splits(study)  # held-out real images, one split per training seed
present = check.testable(splits[0])
modalities = compared_modalities(study.settings.specialists, present)
images_per_point = min(100, study.settings.quality_images)  # per checkpoint, modality and seed
print(f"{study.scale}, training seeds: {len(seeds)}")
print(f"{len(modalities)} of {len(present)} modalities have a specialist")

# %% [markdown]
# ## What counts as a saving
#
# Before it is measured: ten specialists cost as much as the whole generalist, ten tenths. What is saved follows from
# how soon the generalist is as good as they are ([efficiency.py](../medisyn_lib/evaluation/efficiency.py)).

# %%
for reached in (1 / 8, 1 / 4, 1 / 2, 1):
    print(f"as good after {reached:.1%} of its training: a saving by a factor of {1 / reached:.0f}")

# %% [markdown]
# ## What training costs
#
# FLOPs are counted by torch's formulas; operators that it has none for are reported by the number of values they put
# out, not taken for nothing. A hand count of the denoiser agrees within 2% (a test). Denoisers are all of one
# architecture, so an image costs the same ([flops.py](../medisyn_lib/training/flops.py)). The autoencoder is shared.

# %%
operations, uncounted = training_costs.denoiser_operations(study)
print(f"denoiser: {operations / 1e9:.2f} GFLOP an image and training step")
print(training_costs.uncounted_in_words(uncounted))
print(training_costs.autoencoder_in_words(study))

# %% [markdown]
# The suite costs ten times a mean specialist (or as often as the data have modalities); the table has whole trainings,
# the saving counts up to the own best checkpoint. Energy is seconds times assumed watts, an estimate; no rule uses it.

# %%
denoisers = train_denoisers(study, modalities)
calibration = evaluation_splits(study, "calibration", study.settings.choosing_images)
chosen = choose_checkpoints(study, calibration, modalities)
costs = training_costs.suite_costs(study, denoisers, len(present), chosen)
cost_table = training_costs.cost_table(denoisers, costs, watts)
print(cost_table["TFLOP"].round(1).to_string())

# %% tags=["nbval-ignore-output"]
print(cost_table.drop(columns="TFLOP").round(1).to_string())

# %% [markdown]
# ## Quality on the way
#
# The generalist's checkpoints, one after every eighth of its steps, and the specialists at their own best sample the
# same prompts from the same noise. The autoencoder's cost, which is the same for both, is left out.

# %%
curves = sample_quality_curves(study, splits, modalities, images_per_point, chosen)
f03_compute_efficiency.frontier(curve_points(curves, costs), images_per_point, study, folder)

# %% [markdown]
# Lower is nearer to real images. Below the specialist's point the generalist has reached that quality, for all at once.
#
# ## Compute to the same quality
#
# The interval is over seeds, or with one over patients, left out in groups. A generalist that is as good at its first
# checkpoint has a lower limit alone; one that never is has an upper limit alone, which knows no sampling uncertainty.

# %% tags=["nbval-ignore-output"]
saving = efficiency.estimate_saving(curves, costs)
print(f"the suite costs more by a factor of {efficiency.factor_in_words(saving)}")
for name, proportion in efficiency.proportion_to_match(curves, costs).items():
    when = efficiency.training_in_words(proportion)
    print(f"{name:18} the generalist is as good as the specialist {when}")

# %% [markdown]
# The shared autoencoder was trained once, for long; beside short trainings it is most of the bill, whatever is saved.
#
# ## Break-even: from how many modalities on does the generalist cost less than as many specialists?

# %% tags=["nbval-ignore-output"]
even = efficiency.break_even(curves, costs)
to_match = efficiency.factor_in_words(even.to_match)
fully_trained = efficiency.factor_in_words(even.fully_trained)
print(f"to the specialists' quality: from {to_match} modalities on")
print(f"with all of its training: from {fully_trained} modalities on")
f03_compute_efficiency.break_even(even, costs, study, folder)

# %% [markdown]
# Where the rising line crosses a level one, both cost the same. What fewer modalities cost the generalist is not known.
#
# ## An eleventh modality
#
# Something new: grey negatives of the green channel, as fluorescein angiography shows the eye, with captions of their
# own. The generalist learns them, seeing as many of its old images as new ones, at a third of the learning rate; a new
# specialist learns them alone. Both take the same number of steps. Autoencoder and text encoder stay as they are. The
# table says how near the new images come to held-out ones ([code](../medisyn_lib/pipeline/added_modality.py)).

# %% tags=["nbval-ignore-output"]
origin = choose_origin(present, modalities)
added = [added_modality_denoiser(study, learner, origin) for learner in LEARNERS]
learning = distances_while_learning(study, splits[0], origin, images_per_point)
print(learning[["model", "images seen", "KID"]].round(2).to_string(index=False))
f03_compute_efficiency.eleventh(learning, study, folder)

# %% [markdown]
# What the tuning did to the old modalities: log-ratio of KID after to before, above zero worse.

# %% tags=["nbval-ignore-output"]
forgotten = forgetting(study, splits[0], origin, curves)
for name, effect in forgotten.items():
    print(f"{name:18} {'none' if effect.value is None else f'{effect.value:+.2f}'}")

# %% [markdown]
# ## Serving ten modalities
#
# Parameters and bytes; then latency on this machine. A suite keeps all denoisers in memory, or loads another each time.

# %%
finished = study.generator(seed=seeds[0]).folder
print(serving.serving_table(study, finished, len(present)).round(0).to_string())

# %% tags=["nbval-ignore-output"]
machine = serving.machine_costs(study, finished, splits[0]["caption"][0])
print(f"one image {machine.latency:.2f} s; loading another denoiser first {machine.loading:.2f} s")
print(f"peak memory of this process, training included: {machine.peak_memory / 1e9:.1f} GB")

# %% [markdown]
# ## Controls and verdict
#
# The "specialist" of the controls is another generalist half-way through its training: of the second training seed, or
# with a single seed the same network from other noise. Ten such "specialists" under ten names cost ten times one; a
# "generalist" of ten unshared networks costs as much as they do. Below a floor of quality nothing is supported: the
# coverage of real images by the better of generalist and specialists, by each of two encoders.

# %%
planted = plant_sharing(study, splits[0], curves)
coverage = better_covered(*coverage_of_pair(study, splits[0], modalities))
claim = c03_compute_efficiency.efficiency_claim(
    saving,
    coverage,
    c03_compute_efficiency.beside_measures(even, forgotten, costs, machine, len(seeds)),
    c03_compute_efficiency.efficiency_controls(planted),
    seeds=len(seeds),
    evidence=evidence_of_training(study),
    base=study.base_label,
)
flops = flops_of([*denoisers.values(), *added])
provenance = study.provenance(time.perf_counter() - start, flops)
write_result(folder / "results" / "03_compute_efficiency.json", provenance, [claim])

# %% [markdown]
# What the committed runs found, then this one; `quick` trains for minutes: what it finds is shown and not judged.

# %% tags=["nbval-ignore-output"]
print(published("03_compute_efficiency"), findings_of([claim]), sep="\n\n")

# %% tags=["verdict", "nbval-check-output"]
print(verdicts([claim]))

# %% [markdown]
# ## Exercises
#
# 1. Why must ten copies of one modality show a saving of ten, however good the network is?
#    <details><summary>Solution</summary>One network serves all ten names, and the suite trains it ten times.</details>
# 2. Your machine draws 200 W. Which numbers change, and which verdict?
#    <details><summary>Solution</summary>With <code>watts=200.0</code> the energy, threefold; no verdict.</details>

# %% [markdown]
# ## Limits
#
# - "As good" is as near by KID as specialists of equal exposure; longer trained ones are better (notebook 02).
# - Checkpoints of one training stand for shorter trainings; a schedule made for the shorter one would do better.
# - With one seed controls plant sharing in the accounts, not in a training; learners of an eleventh take few steps.
# - Energy is assumed watts times seconds. Memory and latency are this machine's. No rule uses them.
# - With a `base` the costs are of fine-tuning alone; its own training, which both start from, is not counted.
