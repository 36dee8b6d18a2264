# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 Diversity: are images of other patients as diverse as the training images?
#
# **Claim.** Images of patients that no model was trained on are as diverse as the training images.
#
# **Protocol.** One image per patient, as many of both groups; diversity is the Vendi score over n. The rule, fixed
# before the data, is shown below.
#
# **Controls.** Positive: a set that holds each image twice is less diverse. Negative: in another order a set is as
# diverse as before.
#
# The protocol is **our own**. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # unused here: the question is about the data
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %%
import time

import numpy as np

from medisyn_lib.claims import c08_diversity
from medisyn_lib.claims.claim import EXPLORATORY
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import findings_of, verdicts
from medisyn_lib.data.pixels import load_pixels
from medisyn_lib.evaluation.diversity import diversity, diversity_difference
from medisyn_lib.pipeline.features import cached_features
from medisyn_lib.pipeline.study import Study

print(c08_diversity.RULE.text)

# %%
start = time.perf_counter()
study = Study(profile, data, base=base)
images = {role: study.images(role) for role in ("generator", "test")}
first_image = {
    role: np.unique(one["patient_id"][:], return_index=True)[1] for role, one in images.items()
}
n = min(len(rows) for rows in first_image.values())
print(f"{study.scale}: {n} patients in each group")

# %%
rng = np.random.default_rng(0)
chosen = {role: rng.choice(rows, n, replace=False) for role, rows in first_image.items()}
features = {role: cached_features(load_pixels(images[role], chosen[role])) for role in images}
training, other_patients = features["generator"], features["test"]

# %% [markdown]
# ## Verdict

# %%
findings = c08_diversity.Findings(
    training=diversity(training),
    other_patients=diversity(other_patients),
    difference=diversity_difference(other_patients, training),
)
controls = c08_diversity.controls(other_patients)
claim = c08_diversity.claim_as_diverse(findings, controls, EXPLORATORY)
provenance = study.provenance(time.perf_counter() - start, 0.0)
write_result(study.out_folder(out) / "results" / "08_diversity.json", provenance, [claim])

# %% tags=["nbval-ignore-output"]
print(findings_of([claim]))

# %% tags=["verdict", "nbval-check-output"]
print(verdicts([claim]))

# %% [markdown]
# ## Limits
#
# Diversity is what the encoder sees of it, and it depends on n: figures of runs of other sizes do not compare.
