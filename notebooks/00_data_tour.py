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
# # 00 Data tour: ten modalities, their captions, and who sees which patient
#
# **images (you are here)** → autoencoder → text encoder → denoisers → samples → judges → verdicts
#
# > A generalist model for diverse text-guided medical image synthesis: 6 medical specialties, 10 imaging
# > modalities. (arXiv 2405.09806, abstract)
#
# No claim is tested here. This notebook shows what every other one works on: the images of ten modalities, their
# captions, their findings, and how patients are split into roles that never meet, and why. Which specialties,
# modalities and findings stand in the table is **our own choice**; the paper's lists are not public to us.
#
# By default the images are digital phantoms: **drawn, not patients**, each from a simplified physics of its
# modality, with known truth for every attribute. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # a diffusers folder or hub id to judge; unused here
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %%
import pandas as pd

from medisyn_lib.data import check
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.patient_leakage import split_neighbours
from medisyn_lib.modalities import MODALITIES, SPECIALTIES
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.figures import f00_data_tour

study = Study(profile, data, base=base)
folder = study.out_folder(out)
print(f"{len(SPECIALTIES)} specialties, {len(MODALITIES)} modalities; data: {study.scale}")

# %% [markdown]
# ## The modalities
#
# One table holds them ([modalities.toml](../medisyn_lib/modalities.toml)). The last column says what to expect of the
# images below.

# %%
table = pd.DataFrame(
    {
        "specialty": row.specialty,
        "modality": row.names[0],
        "findings": ", ".join(finding.name for finding in row.findings),
        "real images look like": row.appearance,
    }
    for row in MODALITIES.values()
)
table.style.hide(axis="index").set_uuid("modalities").set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The images
#
# A study gives each role its images, drawn or read once and cached ([study.py](../medisyn_lib/pipeline/study.py)). Here
# are those that the generator trains on.

# %%
images = study.images("generator")
frame = images.select_columns(["modality", "finding", "caption", "patient_id"]).to_pandas()
print(f"{len(frame)} images of {frame['patient_id'].nunique()} patients")

# %% [markdown]
# Eight of each modality, each of another patient.

# %%
chosen = frame.drop_duplicates("patient_id").groupby("modality", sort=False).head(8)
f00_data_tour.modalities(chosen, load_pixels(images, chosen.index), study, folder)

# %% [markdown]
# The phantoms leave out what the data card lists, among it everything that no simple physics draws.
#
# ## Captions
#
# A caption names modality, finding and known attributes (side, size, count, grade) in one of several phrasings
# ([records.py](../medisyn_lib/data/records.py)); the generator learns from nothing else what an image shows.

# %%
for modality, part in frame.groupby("modality", sort=False):
    for caption in part["caption"].drop_duplicates().head(2):
        print(f"{modality:18} {caption}")

# %% [markdown]
# ## Findings
#
# Each bar is one modality. Phantoms draw findings with equal probability; real sources are as uneven as they come.

# %%
f00_data_tour.findings(frame, study, folder)

# %% [markdown]
# ## Why patients are split, not images
#
# One patient has several images. A judge that learnt some of them may recognise the others, and then tells of them what
# it cannot see. Here are images with the nearest other image, which a split of images may hand to the judge, and with
# the nearest image of another patient, which is all that a split of patients leaves it
# ([patient_leakage.py](../medisyn_lib/evaluation/patient_leakage.py)).

# %%
nearest = split_neighbours(images)
f00_data_tour.recognised(images, nearest, study, folder)

# %% [markdown]
# What does that do to a number? Toss a coin for each patient, of which an image shows nothing, and let the nearest
# image's coin be the judge's guess. It should be right half of the time.

# %%
f00_data_tour.coins(images, nearest, study, folder)

# %% [markdown]
# Right of zero something was guessed that no image shows. Split by image, whole modalities lie there, above all where
# images of one patient look alike; split by patient, none should, but for about one in twenty intervals by chance. A
# network recognises patients better than these few pixels do.
#
# ## Who sees which patient
#
# The generator trains on its own patients, its evaluators on others, and nobody sees the test patients before the test
# ([splits.py](../medisyn_lib/data/splits.py)).

# %%
roles = {role: study.images(role) for role in ("generator", "evaluator", "test")}
patients = {role: set(part["patient_id"][:]) for role, part in roles.items()}
overlap = [(a, b) for a in patients for b in patients if a < b and patients[a] & patients[b]]
for role, part in roles.items():
    print(f"{role:10} {len(part):6} images of {len(patients[role]):6} patients")
print("roles that share a patient:", overlap or "none")

# %% [markdown]
# A patient in two roles would make every later number too good. So would one image under two names: the check below
# compares all images of different roles with each other ([check.py](../medisyn_lib/data/check.py)).

# %%
pd.DataFrame(check.check_source(data)).drop(columns=["source"], errors="ignore")

# %% [markdown]
# Modalities that are `not testable` have too few test patients; later notebooks leave them out of their verdicts.

# %% tags=["verdict"]
if overlap:
    raise ValueError(f"patients in two roles: {overlap}")
findings = frame.groupby("modality")["finding"].nunique()
print(f"{len(findings)} modalities, {findings.sum()} findings\nevery patient is in one role")

# %% [markdown]
# ## Exercises
#
# 1. Toss a coin for each image in place of each patient. What would the two splits find?
#    <details><summary>Solution</summary>Half of the coins, both of them: recognising a patient tells nothing of a coin
#    that was tossed for one image.</details>
# 2. Read data in which each patient has one image. What does the figure of coins look like?
#    <details><summary>Solution</summary>The two markers of a row lie on each other, at zero but for chance: the nearest
#    other image is always another patient's. So a split by image does no harm there, if patients are really known:
#    an image's number in place of a patient's hides what it was to show.</details>

# %% [markdown]
# ## Limits
#
# Phantoms are drawings: they share the geometry and the noise of a modality, not its diversity, and their lesions are
# larger than life at 64 pixels. A real source brings its own biases; its card belongs beside it.
