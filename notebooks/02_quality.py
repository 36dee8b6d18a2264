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
# # 02 Quality: does one model for all modalities make worse images than one model each?
#
# images → autoencoder → text encoder → denoisers → samples → **distances (you are here)** → verdict
#
# > Diverse training does not degrade quality. (after the abstract of arXiv 2405.09806, version 7; version 6 said that
# > the generalist "quantitatively matches or surpasses specialist models")
#
# **Claim.** One generalist makes images of a modality that are not worse than those of a specialist, a model of the
# same architecture trained on that modality alone. What "as much training" means decides a good part of the answer, so
# there are three budgets. The generalist sees B images, spread evenly over ten modalities; each specialist sees
#
# - **equal exposure**: B/10 images, as many of its modality as the generalist; all specialists together then cost as
#   much as the generalist;
# - **equal compute**: B images, as many as the generalist in all: the suite costs ten times as much;
# - **own best**: up to B images, at the checkpoint that suits it best, chosen on other patients' images.
#
# **Protocol.** For each modality the effect is the log-ratio, generalist to specialist, of the kernel distance (KID)
# from held-out real images, over the same prompts and seeds: above zero the generalist is worse. A distance 10% larger
# still counts as "not worse" (margin: log 1.10). Limits are over patients and, where there are several, training seeds,
# and hold for all modalities together. The rule was fixed before the data; it is shown below.
#
# **Controls.** Positive: a generalist with an eighth of the training must be seen to be worse than the finished one, by
# the rule itself, and blurred real images worse than sharp ones. Negative: two sets of samples of one generalist must
# not lie apart, and real images of other patients must lie at no distance. Two bad models may be equally bad: below a
# floor of quality nothing is supported.
#
# The protocol is **our own**; the paper's is not public to us. Phantoms are not patients. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # a diffusers folder or hub id in place of the generalist; empty or trained: the one trained here
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %%
import time

import numpy as np

from medisyn_lib.claims import c02_quality
from medisyn_lib.claims.evidence import evidence_of_training
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import findings_of, published, verdicts
from medisyn_lib.data import check
from medisyn_lib.evaluation.comparison import ArmComparison, measure_arms
from medisyn_lib.evaluation.judged_coverage import coverage_of_arms
from medisyn_lib.evaluation.nearness import nearness_by_modality
from medisyn_lib.evaluation.own_best import choose_own_best
from medisyn_lib.evaluation.training_costs import training_costs
from medisyn_lib.pipeline import comparison_images
from medisyn_lib.pipeline.denoisers import flops_of
from medisyn_lib.pipeline.paired_samples import evaluation_splits
from medisyn_lib.pipeline.study import Study
from medisyn_lib.pipeline.suite import compared_modalities, train_denoisers
from medisyn_lib.reporting.figures import f02_quality

print(c02_quality.RULE.text)

# %%
start = time.perf_counter()
study = Study(profile, data, base=base)
folder = study.out_folder(out)
splits = evaluation_splits(study)  # held-out real images, one split per training seed
modalities = compared_modalities(study.settings.specialists, check.testable(splits[0]))
print(
    f"{study.scale}: {len(modalities)} modalities with a specialist, "
    f"{len(study.settings.seeds)} training seeds"
)

# %% [markdown]
# ## The models
#
# One generalist and the specialists, for each training seed. All share the autoencoder, the text encoder, the
# architecture and the weights that they start from. Long specialists, with as many images as the generalist, are
# trained for a few modalities and one seed, and not in `quick`: each costs as much as the generalist
# ([suite.py](../medisyn_lib/pipeline/suite.py), [denoiser.py](../medisyn_lib/training/denoiser.py)).
#
# With a `base` all of them are fine-tuned from its denoiser. It has seen more images than any of them, perhaps of these
# patients: compared is fine-tuning on all modalities with fine-tuning on one, not diverse training from the start.

# %%
denoisers = train_denoisers(study, modalities, long_specialists=True)
costs = training_costs(denoisers)
by_model = costs.groupby("model", sort=False)
print(by_model[["images seen", "TFLOP"]].agg(["count", "mean"]).round(1).to_string())

# %% [markdown]
# Number of models, and images seen and operations of each in training the denoiser; notebook 03 makes more of them.
#
# ## The same prompts, the same seeds
#
# Each held-out real image lends its caption; generalist and specialist sample it from the same noise. Training seeds
# get different patients' captions where there are enough ([code](../medisyn_lib/pipeline/comparison_images.py)). Here
# it is said whose images are compared; they are sampled below, unless the measurement is there already.

# %%
arms = comparison_images.paired_arms(study, modalities, generator)

# %% [markdown]
# For the controls, with the first training seed: the generalist after an eighth of its steps, and from other noise;
# other patients' real images, and those blurred by one pixel; and the real images through the autoencoder, the best
# that any generator here can do.

# %%
arms |= comparison_images.control_arms(study, modalities)

# %% [markdown]
# A long specialist's own best checkpoint is the one whose images of calibration captions lie nearest to the calibration
# images; the one of equal exposure is among the candidates.

# %%
own_best = choose_own_best(study, modalities)
candidates = len(comparison_images.long_checkpoints(study))
for name, checkpoint in own_best.items():
    arms |= comparison_images.long_specialist_arms(study, name, checkpoint)
    print(f"{name:18} own best of {candidates} checkpoints: {checkpoint}")
if not own_best:
    print("no specialist was trained beyond equal exposure in this profile")

# %% [markdown]
# Each column is a patient's image and what the two models make of its caption: the first prompts, not chosen by eye.

# %%
f02_quality.side_by_side(arms, splits[0], modalities, study, folder)

# %% [markdown]
# ## What a distance sees
#
# Before it is measured, a toy: 100 "real images" of 8 numbers each, against four sets of 100 others. A good generator
# is as near as other patients are; a shift, too little spread and ten images repeated are three ways to be bad
# ([kernel.py](../medisyn_lib/evaluation/fidelity/kernel.py), [prdc.py](../medisyn_lib/evaluation/fidelity/prdc.py)).

# %%
real, other = np.random.default_rng(0).normal(size=(2, 100, 8))
repeated = np.repeat(other[:10], 10, axis=0)
toys = {
    "as real": other,
    "shifted": other + 1,
    "half the spread": other / 2,
    "ten images": repeated,
}
synthetic, names = np.concatenate([*toys.values()]), np.repeat([*toys], 100)
toy = nearness_by_modality(real=np.tile(real, (4, 1)), synthetic=synthetic, modality=names)
print((toy[["KID", "coverage"]].round(1) + 0.0).to_string())

# %% [markdown]
# ## Distances from real images
#
# Six measures of the first training seed's images, by features of EfficientNet-Lite0 (`efflite0`), trained on
# photographs. KID and FD are distances (FD at these n mostly counts how few images there are); precision and density
# ask whether synthetic images lie where real ones do, recall and coverage whether the real ones are all reached. "Other
# patients" is the floor. The intervals leave out groups of patients in turn (delete-group jackknife), as drawing
# patients with replacement would spoil nearest neighbours.

# %% tags=["nbval-ignore-output"]
measured = measure_arms(arms)
wide = measured.pivot_table(index=["label", "group"], columns="panel", values="value", sort=False)
print(wide.rename(columns=lambda name: name.replace("_efflite0", "")).round(2).to_string())

# %%
f02_quality.measures(measured, study, folder)

# %% [markdown]
# Left is better for FD and KID, right for the overlaps. No verdict rests on this figure: its intervals are not paired.
#
# The quality floor is the coverage of real images in 100 a side, by this encoder and by one of another family, a small
# transformer that was trained on evaluator patients of these data; the median over modalities, for each encoder alone.

# %% tags=["nbval-ignore-output"]
coverage = coverage_of_arms(study, arms)
for arm, covered in coverage.items():
    by_encoder = ", ".join(f"{one.value:.0%} ({encoder})" for encoder, one in covered.items())
    print(f"{arm:24} covers of real images: {by_encoder}")

# %% [markdown]
# ## Generalist against specialist
#
# The effect of each modality, paired by prompt and seed: the log-ratio of KID, at each budget. There is a claim for
# each ([code](../medisyn_lib/claims/c02_quality.py)); budgets that this profile has no specialist for are not run. And
# the same distances by the second encoder: where the two disagree, the summary says so.

# %% tags=["nbval-ignore-output"]
comparison = ArmComparison(modalities, arms)
by_transformer = ArmComparison(modalities, arms, study.transformer_encoder())
controls = c02_quality.quality_controls(comparison)
evidence = evidence_of_training(study)
claims = c02_quality.quality_claims(
    comparison, by_transformer, coverage, controls, evidence, study.base_label
)
ratios = f02_quality.log_ratio_table(claims)
print(ratios.drop(columns=["reference", "n"]).round(2).to_string(index=False))

# %%
f02_quality.log_ratios(ratios, study, folder)

# %% [markdown]
# Left of the dashed margin with its whole interval: not worse. Left of zero: better. Right of the margin: worse. Across
# it: undecided, unless Holm's step-down test, by which the rule counts and which asks less of later ones, decides.
#
# ## Controls and verdict

# %%
provenance = study.provenance(time.perf_counter() - start, flops_of(denoisers.values()))
result = folder / "results" / "02_quality.json"
write_result(result, provenance, claims)

# %% [markdown]
# What the committed runs found, then this one; of `quick`, trained for minutes, it is shown and not judged.

# %% tags=["nbval-ignore-output"]
print(published("02_quality"), findings_of(claims), sep="\n\n")

# %% tags=["verdict", "nbval-check-output"]
print(verdicts(claims))

# %% [markdown]
# ## Exercises
#
# 1. In the toy, which set would coverage alone let pass as nearly good, and which would KID alone?
#    <details><summary>Solution</summary>Coverage: half the spread, which covers as much as other patients do. KID: ten
#    images, which look near beside the shift and yet miss two fifths of the real ones.</details>
# 2. With a margin of log 1.25, which modalities are not worse?
#    <details><summary>Solution</summary><code>ratios[ratios["high"] &lt; np.log(1.25)]["label"]</code>. The rule stays
#    at log 1.10: a margin that is chosen after the intervals are seen decides nothing.</details>

# %% [markdown]
# ## Limits
#
# - A distance between features of photographs' objects is not a physician's eye; notebook 04 asks that.
# - All models here are small and trained for minutes; the three budgets show how far the difference hangs on that.
# - With one training seed the intervals speak for these very networks, not for the recipe.
# - What the shared autoencoder loses, or a base has learnt, is so for both arms, and draws every ratio towards one.
