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
# # 05 Memorization: are synthetic images copies of the training patients?
#
# training images → **neighbours → ratios → threshold → tests of the set (you are here)** → verdict
#
# > The synthetic images are visually distinct from real patient images. (after the abstract of arXiv 2405.09806v7)
#
# **Claim.** No more synthetic images lie suspiciously near to a training image than images of patients whom the
# generator never saw. Every image is compared with **all** training images by three detectors of copies: pixels
# (flipped, shifted and cropped, too), an encoder of photographs, and, where true patients are known, one that knows
# patients. It is *flagged* if its joint conformal p-value, calibrated on other patients, is at most 1%.
#
# **Controls.** Positive: planted copies of training images, of five distortions, break the rule, and so does a model
# overfitted to 64 images. Negative: held-out real images of yet other patients are flagged at most at the stated rate.
# The protocol is **our own**; the paper's is not public to us. Phantoms are not patients. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # what it was trained on: phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # as in 01, or a folder of images with metadata.csv
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>
encoder: str = "efflite0"  # of photographs: efflite0, timm:NAME@FILE.safetensors or hf:FOLDER
seed: int = 0  # of the first synthetic image

# %%
import time

from IPython.display import display

from medisyn_lib.claims import c05_memorization
from medisyn_lib.claims.evidence import evidence_about
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import findings_of, published, verdicts
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.judged_coverage import coverage_of_images
from medisyn_lib.evaluation.memorization import closest_matches, conformal, overfitting, set_tests
from medisyn_lib.evaluation.memorization.closest_record import closest_record
from medisyn_lib.evaluation.memorization.detectors import copy_detectors, match
from medisyn_lib.evaluation.memorization.extraction import attempt_extraction
from medisyn_lib.evaluation.memorization.images import judged_images, real_images
from medisyn_lib.evaluation.memorization.membership import infer_memberships
from medisyn_lib.evaluation.memorization.planted_copies import find_planted_copies
from medisyn_lib.evaluation.memorization.worked_example import work_examples
from medisyn_lib.pipeline.denoisers import flops_of
from medisyn_lib.pipeline.judged import judged_generator
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.figures import f05_memorization
from medisyn_lib.reporting.subgroup_tables import show_subgroups
from medisyn_lib.reporting.tables import estimate_table

start, study = time.perf_counter(), Study(profile, data, base=base)
judged, folder = judged_generator(study, generator), study.out_folder(out)
print(c05_memorization.RULE.text)

# %% [markdown]
# ## Training images, and patients that were never trained on
#
# What `data` names; of the project's own generators what they saw, of the flagship 30,000 phantoms. Calibration
# patients set the threshold, others test it, with one image each, so that exact tests are exact. A detector turns every
# image into a vector ([code](../medisyn_lib/evaluation/memorization/detectors.py)).

# %%
real = real_images(judged)
detectors = copy_detectors(study, real.training, encoder)
print(f"{study.scale}: {len(real.training)} training images of {len(real.modalities)} modalities")
print(f"{len(real.calibration)} calibration images, {len(real.held_out)} held-out images")
print("detectors:", ", ".join(detector.name for detector in detectors))

# %% [markdown]
# ## How a copy is found
#
# By the first detector, for two images: a held-out one, and a copy, a training image cropped to 80% of its area. The
# distance to the nearest training image over that to the tenth nearest is the *ratio*.

# %%
examples = work_examples(detectors[0], real, "crop")
f05_memorization.worked_example(examples, real, judged, folder)

# %% [markdown]
# The held-out image resembles many alike: near 1. The copy is much nearer to one than to all others: near 0. How low is
# suspicious, calibration patients say, who have no copies: of their images the threshold flags one in a hundred
# ([code](../medisyn_lib/evaluation/memorization/conformal.py)); here it is that of one detector alone.

# %%
calibration = match(detectors, load_pixels(real.calibration)).ratio
thresholds = conformal.single_detector_thresholds(calibration)
f05_memorization.ranks(examples, thresholds[0], judged, folder)

# %% [markdown]
# ## Planted copies: what the threshold sees
#
# Mirrored; cropped to 80% of the area; 20% brighter or darker; with noise of 8 of 255; as JPEG of quality 50
# ([code](../medisyn_lib/evaluation/memorization/planted_copies.py)). Beside them, held-out images.

# %% tags=["nbval-ignore-output"]
held_out = match(detectors, load_pixels(real.held_out)).ratio
n = study.settings.memorization.planted_copies
planted = find_planted_copies(detectors, real.training, n, real=held_out, calibration=calibration)
held_out_flagged = conformal.flag_copies(held_out, calibration)
estimate_table({**planted.recall, "held out": conformal.proportion_flagged(held_out_flagged)})

# %% [markdown]
# ## The synthetic images
#
# Of a pipeline, half by held-out captions, half by training captions; a folder of finished images is taken whole. Left
# of the dashed line an image is flagged whatever the other detectors say.

# %%
images = judged_images(judged, seed)
synthetic = match(detectors, images.pixels)
groups = {"held out": held_out, "synthetic": synthetic.ratio}
f05_memorization.distances(groups, planted.ratio, thresholds, detectors, real, judged, folder)

# %% [markdown]
# ## The rule on the set
#
# Fisher's exact test of the images flagged, and the exact test of the exceedances, nearer to a training image than any
# held-out real one ([code](../medisyn_lib/evaluation/memorization/set_tests.py)). Counted by the modality matched.

# %% tags=["nbval-ignore-output"]
flagged = conformal.flag_copies(synthetic.ratio, calibration)
tests = set_tests.flag_and_test(real=held_out, synthetic=synthetic.ratio, calibration=calibration)
of_training = flagged[images.of_training_caption].sum()
print(f"{flagged.sum()} of {len(flagged)} flagged, {of_training} by training captions; {tests}")
patients = closest_matches.matched_patients(flagged, synthetic, thresholds, real.training)
print(f"of {patients.proportion.n} patients {patients.proportion.value:.1%} are matched")
patients.by_modality

# %% [markdown]
# Images flagged or nearest, each above its nearest training image; and, by subgroup, whose images flagged ones match.

# %%
found = (synthetic, flagged, thresholds)
gallery = closest_matches.nearest_gallery(images, *found, detectors, real.training)
display(f05_memorization.nearest(gallery, real, judged, folder))
by_subgroup = closest_matches.flagged_by_subgroup(*found, real.training)
show_subgroups(folder, "05_memorization", by_subgroup)

# %% [markdown]
# ## Power: how few copies would be noticed
#
# Sets of as many images as were judged, a fraction of which are planted copies, the others held-out real images.

# %%
n, copies = len(images.pixels), planted.ratio
power = set_tests.power_by_distortion(real=held_out, copies=copies, calibration=calibration, n=n)
f05_memorization.detection(power, n, copies, real, judged, folder)

# %% [markdown]
# ## A model that does copy
#
# A small model that has seen nothing but 64 images, asked with their captions; where the judged generator was trained
# here, that one, trained on with those alone ([code](../medisyn_lib/evaluation/memorization/overfitting.py)).

# %%
overfitted = overfitting.overfit(judged, detectors, real)
overfitted_tests = overfitting.set_tests_of_overfitted(overfitted, detectors, real)
last = overfitted.last
shown = (images.pixels, synthetic), (last.pixels, last.matches)
pairs = [closest_matches.closest_pairs(*one, thresholds, real.training) for one in shown]
f05_memorization.pairs(*pairs, real, judged, folder)

# %% [markdown]
# ## How long, how few: where copying begins
#
# What counts is how often a model has seen each image: the generalist at four stages of training, overfitted models.

# %%
models = [overfitted, *overfitting.overfit_further_sizes(judged, detectors, real)]
generalist = overfitting.flagged_during_training(judged, detectors, real, calibration)
f05_memorization.length(overfitting.copying_curve(generalist, models), study, folder)

# %% [markdown]
# ## Three more questions
#
# **Extraction.** An attacker asks for training images by their captions, with several seeds. **Distance to the closest
# record.** Of as many training as held-out images, which is nearest? Half of the time one of training. **Membership
# inference.** Does the denoiser's loss (not of one made elsewhere) tell training images from others? 0.5 if it cannot.

# %% tags=["nbval-ignore-output"]
extraction = None if images.finished else attempt_extraction(judged, detectors, calibration)
nearer = closest_record(images.pixels, real)
membership = infer_memberships(judged, overfitted, real)
asked = {"extracted": extraction} if extraction else {}
asked |= {name: inference.auc for name, inference in membership.items()}
estimate_table({"nearer to training": nearer} | asked)

# %% [markdown]
# ## Controls and verdict

# %%
findings = c05_memorization.Findings(
    flagged=flagged,
    tests=tests,
    held_out_flagged=held_out_flagged,
    recall=planted.recall,
    planted_tests=planted.tests,
    power=power,
    overfitted_flagged=last.flagged,
    overfitted_tests=overfitted_tests,
    nearer_to_training=nearer,
    patients_matched=patients.proportion,
    membership=membership,
    coverage=coverage_of_images(study, images),
    extraction=extraction,
)
claim = c05_memorization.claim_not_copies(findings, evidence_about(judged))
flops = judged.flops + flops_of([overfitted.denoiser])
provenance = judged.provenance(time.perf_counter() - start, flops)
write_result(folder / "results" / "05_memorization.json", provenance, [claim])

# %% tags=["nbval-ignore-output"]
print(published("05_memorization"), findings_of([claim]), sep="\n\n")

# %% tags=["verdict", "nbval-check-output"]
print(verdicts([claim]))

# %% [markdown]
# ## Exercises
#
# 1. Make the copy by `"noise"`, then by `"flip"`, in place of `"crop"`. Is it found, and how?
#    <details><summary>Solution</summary>Yes: cells average noise away; the mirror image is searched, too.</details>
# 2. Why the tenth nearest? Let a training set hold every image twice, and divide by the second nearest.
#    <details><summary>Solution</summary>A copy lies as near to both: its ratio is 1, it passes unnoticed.</details>

# %% [markdown]
# ## Limits
#
# - Other copies than the five distortions, or part of an image, a lesion say, may go unnoticed.
# - Not flagged is not anonymous: a synthetic image may carry a patient's trait without copying an image.
# - The threshold is pooled over modalities: a set that mixes them otherwise than the held-out images is misjudged.
# - A generator made elsewhere, or from a base, may have seen more than `data` holds; only what is there can be found.
# - Where patient ids are not known to be true patients, "one image a patient" and "other patients" are not either.
