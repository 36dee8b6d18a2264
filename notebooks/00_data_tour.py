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
# No claim is tested here. This notebook shows what every other one works on: the images of ten modalities, their
# captions, their findings, and how patients are split into roles that never meet. Which specialties, modalities and
# findings stand in the table is **our own choice**; the paper's lists are not public to us.
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
from medisyn_lib.modalities import MODALITIES, SPECIALTIES
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.figures import f00_data_tour

study = Study(profile, data, base=base)
folder = study.out_folder(out)
print(f"{len(SPECIALTIES)} specialties, {len(MODALITIES)} modalities; data: {study.scale}")

# %% [markdown]
# ## The modalities
#
# The last column says what to expect of the images below.

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
# Eight of each modality, each of another patient of the generator's training set.

# %%
images = study.images("generator")
frame = images.select_columns(["modality", "finding", "caption", "patient_id"]).to_pandas()
chosen = frame.drop_duplicates("patient_id").groupby("modality", sort=False).head(8)
f00_data_tour.modalities(chosen, load_pixels(images, chosen.index), study, folder)

# %% [markdown]
# The phantoms leave out what the data card lists, among it everything that no simple physics draws.
#
# ## Captions
#
# A caption names modality, finding and known attributes (side, size, count, grade) in one of several phrasings:

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
# ## Who sees which patient
#
# The generator trains on its own patients, its evaluators on others, and nobody sees the test patients before the test.

# %%
roles = {role: study.images(role) for role in ("generator", "evaluator", "test")}
patients = {role: set(part["patient_id"][:]) for role, part in roles.items()}
overlap = [(a, b) for a in patients for b in patients if a < b and patients[a] & patients[b]]
for role, part in roles.items():
    print(f"{role:10} {len(part):6} images of {len(patients[role]):6} patients")
print("roles that share a patient:", overlap or "none")

# %% [markdown]
# A patient in two roles would make every later number too good. So would one image under two names: the check below
# compares all images of different roles with each other.

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
# ## Limits
#
# Phantoms are drawings: they share the geometry and the noise of a modality, not its diversity, and their lesions are
# larger than life at 64 pixels. A real source brings its own biases; its card belongs beside it.
