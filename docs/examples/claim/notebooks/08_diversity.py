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
# **Rule, fixed before the data.** Reproduced if the 95% interval of the difference in diversity (Vendi score over n, at
# equal n, one image a patient) lies within 0.1 of zero; not reproduced if it lies outside; not testable here otherwise.
#
# **Controls.** Positive: a set in which each image stands twice is less diverse. Negative: the set in another order.
#
# The protocol is our own. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # unused here: the question is about the data
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %% [markdown]
# One image of each patient, as many of either role.

# %%
import time

import numpy as np

from medisyn_lib import claims, generators, quality
from medisyn_lib import data as sources
from medisyn_lib.diversity import diversity, vendi_score
from medisyn_lib.statistics import Estimate, detectable_difference, standard_error

start = time.perf_counter()
study = generators.Study(profile, data)
kept = {role: study.images(role) for role in ("generator", "test")}
rows = {
    role: np.unique(images["patient_id"][:], return_index=True)[1] for role, images in kept.items()
}
n = min(map(len, rows.values()))
chosen = {role: np.random.default_rng(0).permutation(own)[:n] for role, own in rows.items()}
features = {role: quality.features(sources.pixels(kept[role], own)) for role, own in chosen.items()}
print(f"{study.scale}: {n} images a side")

# %% [markdown]
# ## Verdict
#
# The two sides are different patients, so the variances of their diversities add up.

# %%
rule = (
    "Reproduced if the 95% interval of the difference in diversity (Vendi score over n, at equal n, one image a "
    "patient) lies within 0.1 of zero; not reproduced if it lies outside; not testable here otherwise."
)
own, other = (diversity(features[role]) for role in ("generator", "test"))
half = np.hypot(own.ci_high - own.value, other.ci_high - other.value)
gap = Estimate(
    other.value - own.value, other.value - own.value - half, other.value - own.value + half, n
)
within, outside = max(-gap.ci_low, gap.ci_high) < 0.1, max(gap.ci_low, -gap.ci_high) > 0.1
twice = vendi_score(np.repeat(features["test"][: n // 2], 2, 0)) / (n // 2 * 2)
turned = vendi_score(features["test"][::-1]) / n

# %% [markdown]
# The controls, and the result file that the scorecard reads.

# %%
checks = [
    claims.Control(
        "each_image_twice", "positive", "less diverse", twice, bool(twice < other.value)
    ),
    claims.Control(
        "other_order", "negative", "the same", turned, bool(abs(turned - other.value) < 1e-9)
    ),
]
found = {"difference": gap, "diversity_training": own, "diversity_other_patients": other}
claim = claims.make_claim(
    id="as-diverse", statement=claims.NOTEBOOKS["08_diversity"], source="our own", rule=rule, controls=checks,
    passed=True if within else False if outside else None, primary="difference",
    detectable=detectable_difference(standard_error(gap)),
    measures=[claims.measure(name, point, unit="share", encoder="efflite0") for name, point in found.items()],
)  # fmt: skip
came_from = study.provenance(time.perf_counter() - start, 0.0)
claims.write_result(study.folder(out) / "results" / "08_diversity.json", came_from, [claim])

# %% [markdown]
# The verdict.

# %% tags=["verdict", "nbval-check-output"]
for control in checks:
    print(
        f"control {control.name}: {'passed' if control.passed else 'FAILED'} (expected {control.expected})"
    )
print(f"{claim.id}: {claim.verdict}")
