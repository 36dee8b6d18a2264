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
# # 99 Scorecard: every claim, its rule and its verdict
#
# Reads the result files of this run and the committed ones; computes nothing. A verdict is *supported*, *partly
# supported*, *inconclusive* or *contradicted*. Where there is none, the problem is named: a control failed, images lie
# below the quality floor, people are needed, not run. All protocols are our own. Phantoms are not patients. Not for
# clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # unused here
base: str = ""  # a pipeline like Stable Diffusion 1.5 or 2.1, folder or hub id, to fine-tune; empty: from scratch
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>

# %%
from medisyn_lib.claims.scorecard import add_to_model_card, published, scorecard, scorecard_markdown
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.pipeline.study import Study
from medisyn_lib.runtime import store

study = Study(profile, data, base=base)
folder = study.out_folder(out)
rows = scorecard(folder / "results")
table = scorecard_markdown(rows)
store.write_atomic(folder / "scorecard.md", table)
add_to_model_card(folder / "model_card.md", table)  # written by notebook 01
print(f"scorecard of {study.scale}")

# %% [markdown]
# What was found, in a sentence each. `scorecard.md`, and the model card of the generator that 01 judged, have the
# measures, intervals and controls as well. On phantoms in quick, 01 and 04 to 06 judge the flagship, which ships with
# the package; 02, 03 and 07 train for minutes, which is a demonstration and no test.

# %% tags=["nbval-ignore-output"]
for row in rows:
    print(f"{row['notebook'][:2]} {row['verdict']}: {row.get('found', row['problem'])}\n")

# %% tags=["verdict", "nbval-check-output"]
for row in rows:
    print(f"{row['notebook']:24} {row.get('evidence', row['problem'])}")

# %% [markdown]
# The committed results, to compare with:

# %%
for name in NOTEBOOKS:
    print(name, published(name), sep="\n  ")

# %% [markdown]
# ## Limits
#
# A scorecard sums up; the notebooks say what each verdict rests on and what it does not show.
