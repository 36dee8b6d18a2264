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
# images → samples → **classifiers, with and without them (you are here)** → paired gains → verdicts
#
# > Synthetic images improve classifiers when data is limited. (after the abstract of arXiv 2405.09806, version 7;
# > version 6 said that training on synthetic images alone, or on both, can do better than on real ones alone, version 4
# > that both do about as well as twice the real data)
#
# **Claim.** A classifier of findings does better trained on n real and n synthetic images than on the n real ones. Both
# have classical augmentation (mirrored, shifted, brighter or darker), as many optimiser steps, and settings chosen on
# the same validation images. The generator saw none of the classifier's patients. Two scenarios are kept apart:
#
# - **released model**: the generator that notebook 01 judges. It saw N other images of that modality, and more of the
#   nine others. Beside it stands a classifier that is simply *given* those N images: n + N real ones;
# - **no outside data**: a generator trained on the very n images and nothing else, anew for each draw of them.
#
# **One primary contrast**, fixed before the data: mixed 1:1 minus real, both augmented, at the smallest n, in the area
# under the ROC curve (AUROC; one class against the rest, mean over classes).
# **Controls.** Positive: more real data must help. Negative: synthetic images whose classes were shuffled must not.
# The protocol is **our own**; the paper's is not public to us. The rule asks two families of classifiers: softmax
# regressions on frozen features of EfficientNet-Lite0, trained on ImageNet, hundreds of them, so that luck is averaged
# out; and small residual networks, trained from scratch. Phantoms are not patients. Not for clinical use.

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
from medisyn_lib.evaluation.utility.toy_classifiers import toy_curves
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.figures import f06_augmentation
from medisyn_lib.reporting.subgroup_tables import show_subgroups

start, study = time.perf_counter(), Study(profile, data, base=base)
judged, settings = judged_generator(study, generator), study.settings.augmentation
folder = study.out_folder(out)
figures = folder / "figures"
print(c06_augmentation.RULE.text)

# %% [markdown]
# ## What synthetic images can do at small n
#
# A toy: a classifier learns in which of 50 features two classes differ. Few real images leave that to luck; those of a
# perfect generator halve the luck. A generator that errs (its classes differ along a direction 45 degrees off) helps
# while luck is the greater error, and harms later. One made of the same n images knows no more than they do, and adds
# its own noise ([toy_classifiers.py](../medisyn_lib/evaluation/utility/toy_classifiers.py)).

# %%
f06_augmentation.toy(toy_curves(angle=45), figures)

# %% [markdown]
# The released model is the second line or the third, no outside data the fourth.
#
# ## Images, by who may see them
#
# A task is one modality: its findings are the classes. The classifier's real images are the evaluator's patients;
# validation and test images are of yet other patients. The generator saw none of the three. A task with too few test
# patients, or a class that the pool lacks, is named, and another takes its place
# ([images.py](../medisyn_lib/evaluation/utility/images.py)).

# %%
tasks, untestable = images.collect_tasks(judged)
for name, reason in untestable.items():
    print(f"{name}: not testable, {reason}")
print(images.roles_table(study, tasks).to_string())

# %% [markdown]
# Images (and patients) by role. The classifier's pool is up to four times the largest n, so draws differ.
#
# ## Synthetic images
#
# Prompts are captions of the generator's *own* training images, so that no caption of a classifier's patient is used
# either. An image's class is the finding of its prompt, whether it can be seen or not. If a generator of each training
# seed was trained here, draws of the classifier's images take them in turn. The first eight of each, not chosen by eye:

# %%
models = judged.models
synthetic = sample_released_models(study, models, tasks)
print(f"{settings.synthetic_images} synthetic images per task, of {len(models)} generator(s)")
f06_augmentation.images(tasks, synthetic, judged, figures)

# %% [markdown]
# ## Hundreds of classifiers
#
# For each draw, n and ratio an arm ([arms.py](../medisyn_lib/evaluation/utility/arms.py)): real; synthetic; mixed; real
# and mixed with augmentation; synthetic in the first half of the steps, then real; for the control, mixed with the
# synthetic images' classes shuffled; and real with some and all of the generator's N, the end of the learning curve.
# What the rule compares gets three times as many draws as the rest. Each training is done with every setting.

# %%
released = scenarios.run_released_model(study, tasks, synthetic)
print(f"{released.trainings} trainings of {settings.steps} steps each")

# %% [markdown]
# ## Networks that learn their features
#
# From random weights, on what the rule compares ([networks.py](../medisyn_lib/evaluation/utility/networks.py)).

# %%
learned = scenarios.run_released_model(study, tasks, synthetic, NETWORKS)
print(f"{learned.trainings} networks, trained for {settings.network_steps} steps each")

# %% [markdown]
# ## What the regressions reach
#
# Every arm at the smallest n. Ratio: synthetic images per real one. Calibration error: expected, in ten bins; above
# zero by chance alone, so compare arms, not with zero.

# %% tags=["nbval-ignore-output"]
print(scores.measures_table(released.scores, settings.smallest_n).round(2).to_string(index=False))

# %% [markdown]
# ## Learning curves
#
# The toy's picture, measured. Intervals of a panel rest on the same patients and draws: paired gains below tell more.

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
# many reach what the arm reaches with n; 0 stands for fewer than n, inf for more than n + N. Twice, said version 4.

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
# By subgroup, where the data state any: how many more test images are classified correctly? No rule, no verdict.

# %%
show_subgroups(folder, "06_augmentation", gains.gains_by_subgroup(released.scores, study))

# %% [markdown]
# ## No outside data
#
# For each draw of n images a generator of their own: a linear autoencoder (principal components of patches), a small
# denoiser and one vector per finding for text, all trained on these n images. `quick` does **not run** it; `full` does.

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
# What the committed runs found, then what this one did. Detectable is the smallest gain that this run could have seen
# in half of the tasks of both families, Holm's correction included.

# %%
covered, evidence, claims = coverage_of_generator(judged), evidence_about(judged), []
for pair in pairs:
    families = [Compared(compared[one.title], one.draws) for one in pair]
    claims.append(c06_augmentation.claim_augmentation(pair[0].name, *families, covered, evidence))
provenance = judged.provenance(time.perf_counter() - start, judged.flops * len(models))
write_result(folder / "results" / "06_augmentation.json", provenance, claims)

# %% tags=["nbval-ignore-output"]
print(published("06_augmentation"), findings_of(claims), sep="\n\n")
for claim in claims:
    detectable = "none" if claim.detectable is None else f"{claim.detectable:.3f}"
    print(f"{claim.id}: gain in AUROC detectable with power 80%: {detectable}")

# %% tags=["verdict", "nbval-check-output"]
print(verdicts(claims))

# %% [markdown]
# ## Exercises
#
# 1. In the toy, let the generator swap the classes (`angle=180`). What is left of the classifier, and why?
#    <details><summary>Solution</summary>Chance, at any n: half of the images say the opposite of the other.</details>
# 2. From how many real images on does the generator that errs harm? And with `angle=30`?
#    <details><summary>Solution</summary>Between 80 and 160 its line crosses the first; with 30, near 320.</details>

# %% [markdown]
# ## Limits
#
# - The networks are small and start from random weights, the frozen features know ImageNet in every arm; a large
#   network trained on other images before may differ.
# - The validation images, that settings are chosen on, are more than the smallest n: a user would not have them.
# - Several images may be of one patient. Draws share images, so intervals at the largest n are a little too narrow, and
#   the generator: with one training seed they speak for it, not for the recipe.
# - With a given `generator` N is not known here; n + N then stands for the data's generator role.
