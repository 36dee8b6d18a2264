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
# # 06 Augmentation: do synthetic images improve a classifier that has few real ones?
#
# > Synthetic images improve classifiers when data is limited. (after the abstract of arXiv 2405.09806, version 7;
# > version 6 said that training on synthetic images alone, or on both, can do better than on real ones alone, version 4
# > that both do about as well as twice the real data)
#
# **Claim.** A classifier of findings that is trained on n real images and as many synthetic ones does better than one
# trained on the n real images. Both have classical augmentation (mirrored, shifted, brighter or darker), as many
# optimiser steps, and learning rate, weight decay and number of steps chosen on the same validation images. None of
# the classifier's patients was seen by the generator. Two scenarios are kept apart:
#
# - **released model**: the generator that notebook 01 judges. It saw N other images of that modality, and more of the
#   nine others. Beside it stands a classifier that is simply *given* those N images: n + N real ones;
# - **no outside data**: a generator trained on the very n images and nothing else, anew for each draw of them.
#
# **One primary contrast**, fixed before the data: mixed 1:1 minus real, both augmented, at the smallest n, in the area
# under the ROC curve (AUROC; one class against the rest, mean over classes).
#
# **Controls.** Positive: more real data must help. Negative: synthetic images whose classes were shuffled must not.
#
# The protocol is **our own**; the paper's is not public to us. There are two families of classifiers. Softmax
# regressions on frozen features of EfficientNet-Lite0 (`efflite0`), trained on ImageNet: hundreds of them fit into a
# minute, so that the luck of which images one has can be averaged out. And small residual networks that learn their
# features from the run's images alone; they train only on what the rule and its controls compare. The rule asks both.
# Neither is the large fine-tuned network of a paper. Phantoms are not patients. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # flagship, trained (here), a diffusers folder or hub id; empty: flagship on phantoms, else trained
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %%
import time

from medisyn_lib.claims import c06_augmentation
from medisyn_lib.claims.c06_augmentation import Compared
from medisyn_lib.claims.evidence import evidence_about
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import findings_of, published, verdicts
from medisyn_lib.evaluation.judged_coverage import coverage_of_generator
from medisyn_lib.evaluation.utility import gains, images, learning_curves, scenarios, scores
from medisyn_lib.evaluation.utility.families import NETWORKS
from medisyn_lib.evaluation.utility.synthetic_images import sample_released_models
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.figures import f06_augmentation
from medisyn_lib.reporting.subgroup_tables import show_subgroups

start = time.perf_counter()
study = Study(profile, data, base=base)
settings = study.settings.augmentation
judged = judged_generator(study, generator)
folder = study.out_folder(out)
figures = folder / "figures"

# %%
print(c06_augmentation.RULE.text)

# %% [markdown]
# ## Images, by who may see them
#
# One modality of each task is a task: its findings are the classes. The classifier's real images are the
# evaluator's patients; validation and test images are of yet other patients. The generator saw none of the three. A
# task with too few test patients, or a class that the pool lacks, is named, and another takes its place.

# %%
tasks, untestable = images.collect_tasks(judged)
for name, reason in untestable.items():
    print(f"{name}: not testable, {reason}")
print(images.roles_table(study, tasks).to_string())

# %% [markdown]
# Images (and patients) of each task by role. The classifier's pool is up to four times the largest n, so draws differ.
#
# ## Synthetic images
#
# Prompts are captions of the generator's *own* training images, so that no caption of a classifier's patient is used
# either. An image's class is the finding of its prompt, whether it can be seen or not. If a generator of each training
# seed was trained here, draws of the classifier's images take them in turn.

# %%
models = judged.models
synthetic = sample_released_models(study, models, tasks)
print(f"{settings.synthetic_images} synthetic images per task, of {len(models)} generator(s)")

# %% [markdown]
# Not chosen by eye: the first eight of each, and how classical augmentation changes the real ones.

# %%
f06_augmentation.images(tasks, synthetic, judged, figures)

# %% [markdown]
# ## Hundreds of classifiers
#
# For each draw, n and ratio an arm: real; real with augmentation; synthetic; mixed; mixed with augmentation; synthetic
# in the first half of the steps, then real; and, for the control, mixed with the classes of the synthetic images
# shuffled. Real images alone also with some and with all of the generator's N, the end of the learning curve. What the
# rule and the controls compare gets three times as many draws as the rest. Each training is done with every setting.

# %%
released = scenarios.run_released_model(study, tasks, synthetic)
print(f"{released.trainings} trainings of {settings.steps} steps each")

# %% [markdown]
# ## Networks that learn their features
#
# From random weights, on the images and their augmented views; the number of steps is chosen on validation images.

# %%
learned = scenarios.run_released_model(study, tasks, synthetic, NETWORKS)
print(f"{learned.trainings} networks, trained for {settings.network_steps} steps each")

# %% [markdown]
# ## What the regressions reach
#
# Every arm at the smallest n, and real images alone with all of the generator's (n + N). Ratio: synthetic images per
# real one. Calibration error: expected, in ten bins; above zero by chance alone, so compare arms, not with zero.

# %% tags=["nbval-ignore-output"]
print(scores.measures_table(released.scores, settings.smallest_n).round(2).to_string(index=False))

# %% [markdown]
# ## Learning curves
#
# Both axes are logarithmic. Intervals of a panel rest on the same patients and draws: paired gains below tell more.

# %%
curves = learning_curves.learning_curves(released.scores)
f06_augmentation.learning(curves, judged, figures, released.test_images)

# %% [markdown]
# ## Gain against ratio
#
# Differences are paired: both arms have the same draw of real images and the same test patients. Above zero synthetic
# images help. At equal steps, more of them also means that the real ones are seen less often.

# %%
ratios = gains.gains_by_ratio(released.scores)
f06_augmentation.gain_by_ratio(ratios, judged, figures, released.test_images)

# %% [markdown]
# ## Worth how many real images?
#
# Read off the learning curve of real images alone, without augmentation (isotonic, log-linear between its points): how
# many reach what the arm reaches with n, with the interval of its gain; 0 stands for fewer than n, inf for more than
# n + N. Version 4 of the paper's abstract speaks of twice; a generator's N images count, too.

# %% tags=["nbval-ignore-output"]
equivalents = learning_curves.equivalents_table(released.scores, settings.smallest_n)
print(equivalents.to_string(index=False))

# %% [markdown]
# ## Which class is helped?
#
# The primary contrast class by class, the rarest first: description, not corrected for the number of classes.

# %% tags=["nbval-ignore-output"]
by_class = gains.gains_by_class(released.scores, tasks, settings.smallest_n)
print(by_class.round(2).to_string(index=False))

# %% [markdown]
# By subgroup, where the data state sex, age group, site, scanner or view: how many more test images of a group are
# classified correctly with synthetic images than without? No rule was fixed for this, so there is no verdict on it.

# %%
show_subgroups(folder, "06_augmentation", gains.gains_by_subgroup(released.scores, study))

# %% [markdown]
# ## No outside data
#
# For each draw of n images a generator of their own: a linear autoencoder (principal components of patches), a small
# denoiser and one vector per finding for text, all trained on these n images, at most ten sampled for each real one. In
# `quick` that would take longer than all else and is **not run**; `full` runs it with five draws.

# %%
no_outside_data = scenarios.run_no_outside_data(study, tasks)
no_outside_learned = scenarios.run_no_outside_data(study, tasks, NETWORKS)
print(f"{no_outside_data.draws * len(tasks)} generators, each of n = {settings.smallest_n} images")

# %% [markdown]
# ## The primary contrast and the controls
#
# In each task, over the n real images with augmentation, by both families. "Real, n + N" is what the generator's own
# training images would have done in the regression. Circles wholly to the right of zero: synthetic images helped.

# %%
pairs = ((released, learned), (no_outside_data, no_outside_learned))
compared = scenarios.contrasts_of(pairs)
f06_augmentation.gains(compared, judged, figures, released.test_images)

# %% [markdown]
# ## Verdict
#
# A claim for each scenario. Below a floor of quality, coverage of real images by two encoders, nothing is supported.

# %%
covered = coverage_of_generator(judged)
claims = [
    c06_augmentation.claim_augmentation(
        pair[0].name,
        *(Compared(compared[one.title], one.draws) for one in pair),
        covered,
        evidence_about(judged),
    )
    for pair in pairs
]
provenance = judged.provenance(time.perf_counter() - start, judged.flops * len(models))
write_result(folder / "results" / "06_augmentation.json", provenance, claims)

# %% [markdown]
# What the committed runs found, then what this one did. Detectable is the smallest gain that this run could have seen
# in half of the tasks of both families, Holm's correction included.

# %% tags=["nbval-ignore-output"]
print(published("06_augmentation"), findings_of(claims), sep="\n\n")
for claim in claims:
    detectable = "none" if claim.detectable is None else f"{claim.detectable:.3f}"
    print(f"{claim.id}: gain in AUROC detectable with power 80%: {detectable}")

# %% tags=["verdict", "nbval-check-output"]
print(verdicts(claims))

# %% [markdown]
# ## Limits
#
# - The networks are small and start from random weights; a large network trained on other images before may differ.
# - The validation images, that settings are chosen on, are more than the smallest n: a user would not have them.
# - Several images may be of one patient. Draws share images, so intervals at the largest n are a little too narrow.
# - Draws share the generator: with one training seed the intervals speak for it, not for the recipe.
# - The frozen features know ImageNet in every arm; the small networks do not.
# - With a given `generator` N is not known here; n + N then stands for the data's generator role.
