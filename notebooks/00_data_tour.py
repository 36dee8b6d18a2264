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
# > A generalist model for diverse text-guided medical image synthesis: 6 medical specialties, 10 imaging
# > modalities. (arXiv 2405.09806, abstract)
#
# No claim is tested here. This notebook shows what every other one works on: the images of ten modalities, the
# captions, the findings, and the deal of patients into roles that never meet. Which specialties, modalities and
# findings stand in the table is **our own choice**; the paper's lists are not public to us.
#
# By default the images are digital phantoms: **drawn, not patients**, each from a simplified physics of its
# modality, with known truth for every attribute. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # a diffusers folder or hub id to judge; unused here
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %% [markdown]
# Everything is written below `out`; images come from the store if they were drawn before.

# %%
import pandas as pd

from medisyn_lib.data import sources
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.modalities import MODALITIES, SPECIALTIES
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.drawing import NOT_CLINICAL
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw as draw_figure

study = Study(profile, data)
folder = study.folder(out)
print(f"{len(SPECIALTIES)} specialties, {len(MODALITIES)} modalities; data: {study.scale}")

# %% [markdown]
# ## The table of modalities
#
# One row a modality: its specialty, its findings, and what real images of it look like in words, to hold the
# pictures below against.

# %%
table = pd.DataFrame(
    {
        "specialty": row.specialty,
        "modality": row.names[0],
        "findings": ", ".join(f.name for f in row.findings),
        "real images look like": row.looks_like,
    }
    for row in MODALITIES.values()
)
table.style.hide(axis="index").set_uuid("modalities").set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The pictures
#
# Twelve images a modality, each of another patient of the generator's training set.

# %%
images = study.images("generator")
frame = images.select_columns(["modality", "finding", "caption", "patient_id"]).to_pandas()
chosen = frame.drop_duplicates("patient_id").groupby("modality", sort=False).head(12)
tiles = load_pixels(images, chosen.index)
sheet = pd.DataFrame(
    {
        "row": chosen["modality"].factorize()[0],
        "column": chosen.groupby("modality", sort=False).cumcount(),
        "row_label": chosen["modality"].str.replace("_", " "),
        "caption": chosen["caption"],
        "title": f"Images of the data source ({study.scale}); {NOT_CLINICAL}",
    }
)
draw_figure(FIGURES["00_modalities"], sheet, folder / "figures", tiles, real=data != "phantom")

# %% [markdown]
# Every row should be recognisable from its words above. The phantoms leave out what the data card lists, among it
# everything that no simple physics draws.

# %% [markdown]
# ## Captions
#
# A caption names the modality and the finding, with the attributes that are known (side, size, count, grade), in
# one of several phrasings. Two of each modality:

# %%
for modality, part in frame.groupby("modality", sort=False):
    for caption in part["caption"].drop_duplicates().head(2):
        print(f"{modality:18} {caption}")

# %% [markdown]
# ## Findings
#
# How often each finding occurs among the generator's training images.

# %%
counts = frame.value_counts(["modality", "finding"], sort=False).rename("images").reset_index()
order = {name: place for place, name in enumerate(frame["modality"].drop_duplicates())}
counts = counts.sort_values("modality", key=lambda column: column.map(order), kind="stable")
counts["title"] = f"Training images a finding ({study.scale})"
draw_figure(FIGURES["00_classes"], counts, folder / "figures")

# %% [markdown]
# Each bar is one modality, split into its findings. Phantoms draw findings with equal chance; real sources are as
# uneven as they come.

# %% [markdown]
# ## Who sees which patient
#
# Patients are dealt once into roles. The generator trains on its own, the evaluators that later judge it on others,
# and the test patients are seen by nobody before the test.

# %%
roles = {role: study.images(role) for role in ("generator", "evaluator", "test")}
patients = {role: set(part["patient_id"][:]) for role, part in roles.items()}
overlap = [(a, b) for a in patients for b in patients if a < b and patients[a] & patients[b]]
for role, part in roles.items():
    print(f"{role:10} {len(part):6} images of {len(patients[role]):6} patients")
print("roles that share a patient:", overlap or "none")

# %% [markdown]
# A patient in two roles would make every later number too good. So would the same image under two names: the
# check below compares all images of different roles with each other.

# %%
joined = pd.DataFrame(sources.check(data)).drop(columns=["source"], errors="ignore")
joined

# %% [markdown]
# `not testable` names the modalities with too few test patients for a claim about them alone; the notebooks that
# follow leave them out of their verdicts and say so.

# %% tags=["verdict"]
if overlap:
    raise ValueError(f"patients in two roles: {overlap}")
print(
    f"{len(frame['modality'].unique())} modalities, {frame.groupby('modality')['finding'].nunique().sum()} findings"
)
print("every patient is in one role")

# %% [markdown]
# ## Limits
#
# Phantoms are drawings: they share the geometry and the noise of a modality, not its diversity, and their lesions
# are larger than life at 64 pixels. A real source brings its own biases; its card belongs beside it.
