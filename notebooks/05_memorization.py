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
# > The synthetic images are visually distinct from real patient images. (after the abstract of arXiv 2405.09806,
# > version 7)
#
# **Claim.** No more synthetic images lie suspiciously near to a training image than images of patients whom the
# generator never saw. Every image is compared with **all** training images of all modalities, by three looks: pixels
# (of the flipped, shifted and cropped image, too), an encoder of photographs, and, where true patients are known, an
# encoder trained to recognise a patient. In each look the nearest training image is held against the tenth nearest. The
# most suspicious look counts, calibrated jointly on other patients, so that three looks do not triple the alarms: an
# image is *flagged* at a false-alarm rate of 1%.
#
# **Rule, fixed before the data.** Not reproduced if the set of synthetic images breaks the rule on sets: more of them
# are flagged than of held-out real images (Fisher's exact test, one-sided, at 2.5%), or more of them lie nearer to a
# training image than each of the held-out real images does than chance allows (exact exceedance test, at 2.5%).
# Reproduced if it does not, and sets of which 5% are copies, of any of five distortions, would break it in at least 90%
# of cases. Not testable here otherwise, where a control fails, or with fewer than 1,000 calibration images.
#
# **Controls.** Positive: planted copies of training images, at least 300 of each of five distortions, are flagged
# (lower 95% limit of the recall at least 0.95); a model over-trained on 64 images breaks the rule on sets against
# them. Negative: held-out real images, of patients that did not set the threshold, are flagged at the stated rate.
#
# The protocol is **our own**; the paper's is not public to us. Phantoms are not patients. Not for clinical use.

# %% tags=["parameters"]
profile: str = "quick"  # run size: tiny, quick, full, gpu or cluster
data: str = "phantom"  # what it was trained on: phantom, npz:DIR, medmnist:NAME, folder:DIR or hub:OWNER/NAME
generator: str = ""  # to judge: diffusers folder or hub id, or folder of images with metadata.csv; empty: that of 01
out: str = ""  # folder for results and figures; empty: build/<profile>-<data>
encoder: str = "efflite0"  # of the second look: efflite0, timm:NAME@FILE.safetensors or hf:FOLDER
seed: int = 0  # of the first synthetic image

# %% [markdown]
# What was made before under the same settings, code and data is read from the store; the rest is made now.

# %%
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from medisyn_lib.claims.claim import Control, make_claim, measure
from medisyn_lib.claims.results import write_result
from medisyn_lib.claims.scorecard import published
from medisyn_lib.claims.statements import NOTEBOOKS
from medisyn_lib.data import sources
from medisyn_lib.data.pixels import centre_square, load_pixels
from medisyn_lib.evaluation import memorization, neighbours
from medisyn_lib.evaluation.memorization import RATE
from medisyn_lib.models import networks
from medisyn_lib.pipeline.denoisers import (
    denoiser_entry,
    denoiser_plan,
    flops_of,
    load_denoiser,
    snapshot_steps,
)
from medisyn_lib.pipeline.embeddings import text_entry
from medisyn_lib.pipeline.generators import generator_entry
from medisyn_lib.pipeline.latents import autoencoder_entry, load_autoencoder
from medisyn_lib.pipeline.paired_samples import evaluation_splits, sample_modalities
from medisyn_lib.pipeline.samples import load_samples, samples_entry
from medisyn_lib.pipeline.study import Study
from medisyn_lib.reporting.drawing import NOT_CLINICAL
from medisyn_lib.reporting.gallery import FIGURES
from medisyn_lib.reporting.render import draw as draw_figure
from medisyn_lib.sampling.pipeline import resolve_model
from medisyn_lib.statistics.estimates import Estimate, student
from medisyn_lib.statistics.intervals import cluster_proportion, exact_proportion
from medisyn_lib.statistics.jackknife import delete_group
from medisyn_lib.training.autoencoder import encode
from medisyn_lib.training.text_encoder import embed_prompts

start = time.perf_counter()
study = Study(profile, data)
settings, folder = study.settings, study.folder(out)
memory = settings.memorization
many_calibrate, many_test = memory.calibration_images, memory.test_images
many_planted = memory.planted_copies

# %% [markdown]
# ## Training images, and patients that were never trained on
#
# The training set is the data that `data` names: of the project's own generator the part that it was given. The
# threshold is set by calibration patients and tested on others, one image of each, so that exact tests are exact.

# %%
training = memorization.training_images(study, generator)
modality = np.array(training["modality"][:])
names = list(dict.fromkeys(modality.tolist()))
share = {"calibration": many_calibrate // len(names) + 1, "test": many_test // len(names)}
kept = {
    role: sources.load(data, role=role, size=settings.size, per_modality=n)
    for role, n in share.items()
}
first = np.sort(np.unique(kept["test"]["patient_id"][:], return_index=True)[1])
calibrating, held = kept["calibration"], kept["test"].select(first.tolist())
pixels = {"calibration": load_pixels(calibrating), "held out": load_pixels(held)}
print(f"{study.scale}: {len(names)} modalities")
print(f"{len(training)} training images of {len(set(training['patient_id'][:]))} patients")
print(f"{len(calibrating)} calibration images, {len(held)} held-out images of as many patients")

# %% [markdown]
# ## Three looks and a joint threshold
#
# The index of each look is kept and mapped into memory; the search is exact. The ratio of a match is its distance over
# that of the tenth nearest training image: near 1 for an image that resembles many, near 0 for a copy.

# %%
looks = memorization.looks(study, training, encoder)
ratios = {name: memorization.match(looks, found).ratio for name, found in pixels.items()}
calibration, real = ratios["calibration"], ratios["held out"]
enough = len(calibration) >= 10 / RATE


def flags(ratio, calibration=calibration):
    """Which images are flagged: bool (n,)."""
    return memorization.suspicion(ratio, calibration) <= RATE


def alone(look):
    """The largest ratio that flags an image by one look alone; NaN where none does."""
    tried = np.sort(calibration[:, look])[: len(calibration) // 50 + 1]
    probe = np.full((len(tried), len(looks)), np.inf)
    probe[:, look] = tried
    return max(tried[flags(probe)], default=np.nan)


# %% [markdown]
# Where a look alone would draw the line.

# %%
thresholds = np.array([alone(place) for place in range(len(looks))])
limits = np.nan_to_num(thresholds, nan=1.0)
print("looks:", ", ".join(look.name for look in looks))
print(f"{RATE:.0%} false alarms {'can' if enough else 'cannot'} be calibrated")

# %% [markdown]
# Re-identification is left out where no true patients with several images are known. A false-alarm rate of 1% needs
# 1,000 calibration images, pooled over the modalities.
#
# ## Planted copies: what the threshold sees
#
# Copies of training images: mirrored; cropped to 80% of the area; 20% brighter or darker; with noise of 8 of 255; as
# JPEG of quality 50.

# %% tags=["nbval-ignore-output"]
planting = np.random.default_rng(5).choice(
    len(training), min(many_planted, len(training)), replace=False
)
originals = load_pixels(training, planting)
for kind in memorization.DISTORTIONS:
    pixels[kind] = memorization.distort(originals, kind, seed=5)
    ratios[kind] = memorization.match(looks, pixels[kind]).ratio
caught = {kind: flags(ratios[kind]) for kind in memorization.DISTORTIONS}
recall = {kind: exact_proportion(int(found.sum()), len(found)) for kind, found in caught.items()}
false = flags(real)
alarms = exact_proportion(int(false.sum()), len(false))
for kind, point in recall.items():
    print(
        f"{kind:11} flagged {point.value:.3f} ({point.ci_low:.3f} to {point.ci_high:.3f}), n = {point.n}"
    )
print(
    f"held out    flagged {alarms.value:.3f} ({alarms.ci_low:.3f} to {alarms.ci_high:.3f}), n = {alarms.n}"
)

# %% [markdown]
# Share flagged with the exact (Clopper-Pearson) 95% interval.
#
# ## The synthetic images
#
# Of a pipeline one image for each caption of notebook 01's held-out images; a folder of finished images is taken whole,
# brought to the side of the training images.


# %%
def drawn(model, prompts, first_seed):
    """Images of prompts by a pipeline."""
    entry = samples_entry(model, prompts, first_seed=first_seed)
    return np.array(load_samples(entry, settings.size))


judged = resolve_model(generator) if generator else str(generator_entry(study))
finished = (Path(judged) / "metadata.csv").is_file() and not (
    Path(judged) / "model_index.json"
).is_file()
if finished:
    source = f"folder:{judged}"
    opened = sources.source_module(source).images(sources.rows(source))
    pixels["synthetic"] = np.stack(
        [np.asarray(centre_square(one, settings.size)) for one in opened]
    )
else:
    pixels["synthetic"] = drawn(judged, study.images("test")["caption"][:], seed)

# %% [markdown]
# How they lie beside held-out real images and planted copies, look by look.

# %%
matched = memorization.match(looks, pixels["synthetic"])
ratios["synthetic"] = matched.ratio
ratios["planted copies"] = np.concatenate([ratios[kind] for kind in caught])
bins, rows = np.linspace(0, 1, 26), []
for group in ("held out", "synthetic", "planted copies"):
    for place, look in enumerate(looks):
        counts = np.histogram(np.clip(ratios[group][:, place], 0, 1), bins)[0]
        for left, count in zip(bins, counts, strict=False):
            rows.append((look.name, group, left, count / counts.sum(), thresholds[place]))
bars = pd.DataFrame(rows, columns=["panel", "group", "x", "y", "reference"])
bars["reference_label"] = f"flagged by this look alone, {RATE:.0%} false alarms"
bars["xlabel"], bars["ylabel"] = "nearest / tenth nearest distance", "share of images a bin"
bars["title"] = (
    f"Distance to the nearest training image over that to the tenth nearest ({study.scale}, "
    f"{len(training)} training images, n = {len(pixels['synthetic'])} synthetic, {len(held)} held out)"
)
draw_figure(FIGURES["05_distances"], bars, folder / "figures")

# %% [markdown]
# Left of the dashed line an image is flagged whatever the other looks say. Synthetic images should lie where held-out
# real ones do, not where the copies are.
#
# ## The rule on the set
#
# Both exact tests, and the share flagged.

# %% tags=["nbval-ignore-output"]
flagged = flags(ratios["synthetic"])
flagged_share = exact_proportion(int(flagged.sum()), len(flagged))


def broken(real, synthetic, calibration):
    """P-values of too many flagged and too many leaders, and the number of leaders, of a set."""
    counts = {
        "flagged_real": flags(real, calibration).sum(),
        "flagged_synthetic": flags(synthetic, calibration).sum(),
    }
    return memorization.set_rule(
        real=real, synthetic=synthetic, **{name: int(n) for name, n in counts.items()}
    )


tests = broken(real, ratios["synthetic"], calibration)
print(
    f"flagged: {flagged_share.value:.3f} ({flagged_share.ci_low:.3f} to {flagged_share.ci_high:.3f})"
)
print(f"more than held-out real images: p = {tests[0]:.3f}; {tests[2]} leaders: p = {tests[1]:.3f}")

# %% [markdown]
# Whose images are matched: the training patients of the flagged images' most suspicious look.

# %% tags=["nbval-ignore-output"]
worst_look = (ratios["synthetic"] / limits).argmin(1)
nearest = matched.row[np.arange(len(flagged)), worst_look]
patient = np.array(training["patient_id"][:])
counts = pd.Series(patient[nearest[flagged]]).value_counts()
print(f"{len(counts)} of {len(set(patient))} training patients are matched by a flagged image")
print(f"most flagged images a patient: {counts.max() if len(counts) else 0}")
by_modality = pd.Series(flagged).groupby(modality[nearest]).agg(["sum", "count"])
print(by_modality.rename(columns={"sum": "flagged", "count": "images"}).to_string())

# %% [markdown]
# Flagged images, and all of them, by the modality of the training image that they match.
#
# ## Power: how few copies would be noticed
#
# Sets of as many images as were judged, of which a share are planted copies and the others held-out real images,
# drawn anew 200 times.

# %%
n, rows = len(flagged), []
for kind in memorization.DISTORTIONS:
    for dose in (0.001, 0.01, 0.05, 0.1):
        seen = memorization.power(
            real=real, copies=ratios[kind], calibration=calibration, dose=dose, n=n
        )
        rows.append((kind, 100 * dose, seen.value, seen.ci_low, seen.ci_high))
power = pd.DataFrame(rows, columns=["group", "x", "y", "low", "high"])
power["xlabel"], power["ylabel"] = "copies in the set (%)", "share of sets that break the rule"
power["xscale"], power["reference"], power["reference_label"] = (
    "log",
    0.9,
    "asked for at 5% and 10%",
)
power["title"] = (
    f"How often copies among {n} images are noticed; 95% intervals over 200 draws "
    f"({study.scale}, {len(planting)} copies of each kind, {len(held)} held-out patients)"
)
draw_figure(FIGURES["05_detection"], power, folder / "figures")

# %% [markdown]
# One copy in a thousand images is not noticed by any rule that is to cry wolf in one set of twenty only.
#
# ## A model that does copy
#
# The positive control: the generalist of notebook 01, trained on with 64 images alone, and asked with their captions.
# It is judged as above, with those 64 as the training set and a threshold of its own.

# %%
own = study.images("generator")
few = memorization.overtrained_rows(own)
place_of = {name: row for row, name in enumerate(training["image_id"][:])}
index_rows = np.array([place_of[own["image_id"][int(row)]] for row in few])
taught = memorization.overtrained_entry(study, few)
plan_steps = sorted(int(path.stem.split("-")[1]) for path in taught.glob("step-*.safetensors"))
captions = own.select(few.tolist())["caption"][:]
calibration_few, real_few = (
    memorization.match(looks, pixels[k], index_rows).ratio for k in ("calibration", "held out")
)
overtrained = {}
for step in plan_steps[-2:]:
    model = str(generator_entry(study, trained=taught, step=step))
    pixels["over-trained", step] = drawn(model, captions, 9_000_000)
    overtrained[step] = memorization.match(looks, pixels["over-trained", step], index_rows)

# %% [markdown]
# Share flagged after half the steps and at the end, and what the rule on sets says.

# %% tags=["nbval-ignore-output"]
copied = {step: flags(found.ratio, calibration_few) for step, found in overtrained.items()}
caught_tests = broken(real_few, overtrained[plan_steps[-1]].ratio, calibration_few)
for step, found in copied.items():
    print(f"after {step} steps: {found.sum()} of {len(found)} flagged")
print(
    f"more than held-out real images: p = {caught_tests[0]:.2g}; {caught_tests[2]} leaders: p = {caught_tests[1]:.2g}"
)

# %% [markdown]
# The closest pairs, side by side.


# %%
def closest(pixels, ratio, row, count=8):
    """The most suspicious images and the training images that they match."""
    order = np.argsort((ratio / limits).min(1))[:count]
    looked = (ratio[order] / limits).argmin(1)
    return pixels[order], load_pixels(training, row[order, looked])


last = overtrained[plan_steps[-1]]
pairs = [*closest(pixels["synthetic"], matched.ratio, matched.row)]
pairs += closest(pixels["over-trained", plan_steps[-1]], last.ratio, index_rows[last.row])
labels = [
    "synthetic",
    "nearest\ntraining image",
    "over-trained\non 64 images",
    "nearest of\nthe 64",
]
sheet = pd.DataFrame(
    [(row, column) for row in range(4) for column in range(len(pairs[row]))],
    columns=["row", "column"],
)
sheet["row_label"] = [labels[row] for row in sheet["row"]]
sheet["title"] = (
    f"The most suspicious matches ({study.scale}, {len(training)} training images); {NOT_CLINICAL}"
)
draw_figure(
    FIGURES["05_pairs"], sheet, folder / "figures", np.concatenate(pairs), real=data != "phantom"
)

# %% [markdown]
# Above the generator's closest matches, below those of the model that was over-trained on purpose.

# %% [markdown]
# ## Extraction: training captions as prompts, several seeds
#
# An attacker who knows captions of training images asks for them again and again.

# %% tags=["nbval-ignore-output"]
extracted = None
if not finished:
    asked = np.rint(np.linspace(0, len(own) - 1, max(2, many_planted // 20))).astype(int).tolist()
    tries = [
        drawn(judged, own.select(asked)["caption"][:], 8_000_000 + 1000 * turn) for turn in range(2)
    ]
    found = flags(memorization.match(looks, np.concatenate(tries)).ratio)
    extracted = exact_proportion(int(found.sum()), len(found))
    print(
        f"flagged {extracted.value:.3f} ({extracted.ci_low:.3f} to {extracted.ci_high:.3f}), n = {extracted.n}"
    )

# %% [markdown]
# Share flagged, of two seeds a caption.
#
# ## How long, how few: where copying begins
#
# The same model after an eighth, a quarter and half of its training, and the over-trained one. What counts is how often
# a model has seen each of its images. Of a generator made elsewhere the way there is not known. Where the profile says
# so the model is over-trained on larger sets, too, for as many steps: each set is an index and a threshold of its own.

# %%
wider = {}
for many in memory.further_overfit_sizes:
    chosen = memorization.overtrained_rows(own, many)
    within = np.array([place_of[own["image_id"][int(row)]] for row in chosen])
    limit = memorization.match(looks, pixels["calibration"], within).ratio
    entry = memorization.overtrained_entry(study, chosen)
    words = own.select(chosen[np.linspace(0, len(chosen) - 1, len(few)).astype(int)].tolist())[
        "caption"
    ][:]
    for step in plan_steps[-2:]:
        made = drawn(str(generator_entry(study, trained=entry, step=step)), words, 9_000_000)
        wider[len(chosen), step] = flags(memorization.match(looks, made, within).ratio, limit)
print(
    "over-trained on further sets of",
    [many for many, _ in wider][::2] or "no other size in this profile",
)

# %% [markdown]
# How often each of these was caught.

# %% tags=["nbval-ignore-output"]
rows, seen = [], {}
plan = denoiser_plan(study)
if not generator:
    some = [name for name in settings.specialists if name in names]
    for step in snapshot_steps(plan)[:-1]:
        images = sample_modalities(
            generator_entry(study, step=step), evaluation_splits(study)[0], some, 0
        )
        found = memorization.match(looks, np.concatenate([images[name] for name in some]))
        seen["trained on all images", step * plan.batch / len(training)] = flags(found.ratio)
    seen["trained on all images", plan.steps * plan.batch / len(training)] = flagged
for (many, step), found in (
    {(len(few), step): found for step, found in copied.items()} | wider
).items():
    seen[f"then on {many} images alone", step * 16 / many] = found
for (group, passes), found in seen.items():
    point = exact_proportion(int(found.sum()), len(found))
    rows.append((group, passes, point.value, point.ci_low, point.ci_high))
length = pd.DataFrame(rows, columns=["group", "x", "y", "low", "high"])
print(length.round(3).to_string(index=False))

# %% [markdown]
# The curve.

# %%
length["xlabel"], length["ylabel"] = "passes over the training images", "share of images flagged"
length["xscale"], length["reference"], length["reference_label"] = "log", RATE, "false-alarm rate"
length["title"] = (
    f"Share flagged against training length; exact 95% intervals ({study.scale}, "
    f"n = {min(map(len, seen.values()))} to {max(map(len, seen.values()))} images a point)"
)
draw_figure(FIGURES["05_length"], length, folder / "figures")

# %% [markdown]
# Each group is held against its own training images.
#
# ## Two more questions to the whole set
#
# **Distance to the closest record.** Of a pool of as many training as held-out images, alike by modality, which does a
# synthetic image lie nearest to? Half of the time a training image, if nothing is copied. The interval is by nearest
# image.

# %% tags=["nbval-ignore-output"]
rng, pool = np.random.default_rng(6), []
held_modality = np.array(held["modality"][:])
firsts = np.unique(patient, return_index=True)[1]
for name in names:
    sides = firsts[modality[firsts] == name], np.flatnonzero(held_modality == name)
    most = min(map(len, sides))
    pool.append([rng.permutation(side)[:most] for side in sides])
trained, others = (np.concatenate(side) for side in zip(*pool, strict=True))
records = np.concatenate([load_pixels(training, trained), load_pixels(held, others)])
_, row = neighbours.nearest(neighbours.views(pixels["synthetic"]), neighbours.centre(records), 1)
nearer = cluster_proportion((row[:, 0] < len(trained)).astype(float), row[:, 0])
print(
    f"nearer to training {nearer.value:.2f} ({nearer.ci_low:.2f} to {nearer.ci_high:.2f}), n = {nearer.n}"
)
print(f"{len(trained)} images on either side")

# %% [markdown]
# **Membership inference.** Does the denoiser's loss tell training images from others? Only of a model trained here are
# the losses to be had.


# %%
def losses(net, images, rows, times=(0.3, 0.5, 0.7)):
    """The flow-matching loss of some images at three times, mean: float64 (n,)."""
    vae, stage = load_autoencoder(autoencoder_entry(study)), text_entry(study)
    import torch
    from transformers import CLIPTextModel, CLIPTokenizer

    latents = torch.from_numpy(encode(vae, load_pixels(images, rows)))
    parts = (
        CLIPTokenizer.from_pretrained(stage / "tokenizer"),
        CLIPTextModel.from_pretrained(stage / "text_encoder"),
    )
    words = torch.from_numpy(embed_prompts(*parts, images.select(list(rows))["caption"][:])).float()
    noise, found = torch.randn(latents.shape, generator=torch.Generator().manual_seed(7)), []
    with torch.inference_mode():
        for t in times:
            mixed = ((1 - t) * latents + t * noise).split(64)
            flow = [
                net(x, t * networks.TIMESTEPS, w, return_dict=False)[0]
                for x, w in zip(mixed, words.split(64), strict=True)
            ]
            found.append((torch.cat(flow) - (noise - latents)).square().mean((1, 2, 3)).numpy())
    return np.mean(found, 0, dtype=np.float64)


# %% [markdown]
# The area under the ROC curve (0.5: nothing is told), with the jackknife's interval; and the true-positive rate at a
# false-positive rate only where 10 over that rate non-members are there.


# %%
def area_under(members, others):
    """The share of pairs in which the member has the smaller loss."""
    return roc_auc_score(
        np.repeat([1, 0], [len(members), len(others)]), -np.concatenate([members, others])
    )


def told(members, others):
    """AUC of members' losses below others', and the true-positive rates at the false-positive rates n allows."""
    value, variance, freedom = delete_group(area_under, [members, others])
    area = student(float(value[0]), float(variance[0]), freedom, len(members) + len(others))
    rates = {}
    for rate in (0.001, 0.01, 0.05, 0.1):
        if len(others) >= 10 / rate:
            bound = np.sort(others)[int(rate * len(others)) - 1]
            rates[rate] = exact_proportion(int((members < bound).sum()), len(members))
    return area, rates


# %% [markdown]
# Of the generalist, if it is the one judged, and of the over-trained model with its 64 images.

# %% tags=["nbval-ignore-output"]
belonging, many = {}, min(len(held), 200)  # evenly over the modalities, which stand in order
unseen = np.linspace(0, len(held) - 1, many).round().astype(int)
nets = {"over-trained": (load_denoiser(study, taught), few)}
if not generator:
    each = np.sort(np.unique(own["patient_id"][:], return_index=True)[1])
    picked = each[np.linspace(0, len(each) - 1, many).round().astype(int)]
    nets["generalist"] = load_denoiser(study, denoiser_entry(study)), picked
for name, (net, members) in nets.items():
    area, rates = belonging[name] = told(losses(net, own, members), losses(net, held, unseen))
    print(
        f"{name}: AUC {area.value:.2f}",
        *(f"TPR {r.value:.2f} at FPR {rate:g}" for rate, r in rates.items()),
        sep=", ",
    )

# %% [markdown]
# ## Controls
#
# What was planted must be seen, held-out real images must not; positive controls at 95%, the negative one at 99.9%.

# %%
missed = min(recall.values(), key=lambda point: point.ci_low)
null = exact_proportion(int(false.sum()), len(false), 0.999)
many_copied = exact_proportion(int(copied[plan_steps[-1]].sum()), len(few))
seen_copying = min(caught_tests[:2]) <= memorization.LEVEL / 2
checks = [
    Control(
        "planted_copies", "positive", "flagged, at least 0.95", missed.value, missed.ci_low >= 0.95
    ),
    Control("overtrained_on_64", "positive", "rule broken", many_copied.value, bool(seen_copying)),
    Control(
        "held_out_real",
        "negative",
        "flagged at 1%",
        null.value,
        null.ci_low <= RATE <= null.ci_high,
    ),
]

# %% [markdown]
# ## Verdict
#
# The rule of the first cell.

# %%
rule = (
    "Not reproduced if the set of synthetic images breaks the rule on sets: more of them are flagged than of held-out "
    "real images (Fisher's exact test, one-sided, at 2.5%), or more of them lie nearer to a training image than each "
    "of the held-out real images does than chance allows (exact exceedance test, at 2.5%). Reproduced if it does not, "
    "and sets of which 5% are copies, of any of five distortions, would break it in at least 90% of cases. Not "
    "testable here otherwise, where a control fails, or with fewer than 1,000 calibration images."
)


def decide(tests, power, enough):
    """Whether the claim holds; None where nothing can be said."""
    if not enough:
        return None
    if min(tests[:2]) <= memorization.LEVEL / 2:
        return False
    return True if power[power["x"] == 5]["y"].min() >= 0.9 else None


# %% [markdown]
# Everything measured, in one claim. The smallest effect that this run could have seen is the least dose of copies that
# breaks the rule in at least 80% of sets, whatever the distortion.

# %%
least = power.groupby("x")["y"].min()
detectable = min((dose / 100 for dose, seen in least.items() if seen >= 0.8), default=None)
found = {
    "share_flagged": flagged_share,
    "share_flagged_held_out": alarms,
    "nearer_to_training": nearer,
}
found |= {f"recall_{kind}": point for kind, point in recall.items()} | {
    "share_flagged_overtrained": many_copied
}
found |= {"share_flagged_extraction": extracted} if extracted else {}
found |= {"share_leading": exact_proportion(tests[2], n)}
found |= {"share_of_patients_matched": exact_proportion(len(counts), len(set(patient)))}
for name, (area, rates) in belonging.items():
    key = name.replace("-", "")
    found |= {f"membership_auc_{key}": area}
    found |= {f"membership_tpr_at_{rate:g}_{key}": point for rate, point in rates.items()}
measures = [measure(name, point, unit="share") for name, point in found.items()]
measures += [
    measure(f"power_{row.group}_{row.x:g}%", Estimate(row.y, row.low, row.high, 200), unit="share")
    for row in power.itertuples()
]

# %% [markdown]
# The result.

# %%
claim = make_claim(
    id="not-copies", statement=NOTEBOOKS["05_memorization"], rule=rule, controls=checks, measures=measures,
    source="arXiv 2405.09806 v7, abstract; protocol our own", passed=decide(tests, power, enough),
    primary="share_flagged", detectable=detectable,
)  # fmt: skip
trained_here = [taught] if generator else [taught, denoiser_entry(study)]
came_from = study.provenance(time.perf_counter() - start, flops_of(trained_here))
write_result(folder / "results" / "05_memorization.json", came_from, [claim])

# %% [markdown]
# The power that the rule asks for, and the smallest dose seen.

# %% tags=["nbval-ignore-output"]
for dose, seen in least.items():
    print(
        f"{dose:g}% copies: the rule is broken by {seen:.0%} of sets, of the distortion least seen"
    )
print(f"smallest dose seen in 80% of sets: {'none' if detectable is None else f'{detectable:.1%}'}")

# %% [markdown]
# What is controlled and claimed.

# %% tags=["nbval-check-output"]
for control in checks:
    print(f"{control.kind} control {control.name}: expected {control.expected}")
print(f"{claim.id}: measures {len(claim.measures)}, primary {claim.primary}")

# %% [markdown]
# What the committed full runs found, to lay beside this one:

# %% tags=["nbval-ignore-output"]
print(published("05_memorization"))

# %% [markdown]
# The verdict. Where a number lies near its bound another machine's arithmetic may decide otherwise, so nbval, which
# runs `quick`, does not compare these words.

# %% tags=["verdict", "nbval-ignore-output"]
for control in checks:
    print(
        f"control {control.name}: {'passed' if control.passed else 'FAILED'} (expected {control.expected})"
    )
print(f"{claim.id}: {claim.verdict}")

# %% [markdown]
# ## Limits
#
# - A copy that none of the three looks recognises is not found: what they were shown to see are five distortions, and
#   one model that copies. Part of an image, a lesion say, may be copied into another without being noticed.
# - Not flagged is not anonymous: a synthetic image may carry a patient's trait without copying an image.
# - The threshold is pooled over modalities, so the false-alarm rate holds over all of them, not in each. A set whose
#   modalities are mixed otherwise than the held-out images is not judged fairly.
# - A generator made elsewhere may have been trained on more than `data` holds; only what is in `data` can be found.
# - Where patient ids are not known to be true patients, "one image a patient" and "other patients" are not either.
