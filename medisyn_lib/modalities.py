"""The 6 specialties and 10 imaging modalities as one table, and the captions made from it.

Which specialties, modalities and findings stand here is this project's own choice: the paper
(arXiv 2405.09806) names 6 specialties and 10 modalities, but its lists are not public to us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Finding:
    """One class of a modality.

    `name` is the plain phrase. `phrases` are paraphrases whose {side}, {lesion_size}, {count} and
    {grade} are filled from an image's attributes; where an attribute is unknown, `name` is used.
    """

    key: str
    name: str
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Modality:
    """One imaging modality: its specialty, its names in captions, its findings, how it looks."""

    key: str
    specialty: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]
    looks_like: str


TEMPLATES = ("{name}, {finding}", "{name} showing {finding}", "{finding} on {name}")


def _findings(**rows: str) -> tuple[Finding, ...]:
    """Findings from `key="plain name; paraphrase; ..."`; phrases with attributes, if any, go before plain ones."""
    found = []
    for key, row in rows.items():
        words = tuple(row.split("; "))
        found.append(Finding(key, words[0], tuple(w for w in words if "{" in w) or words))
    return tuple(found)


_ROWS = (
    Modality(
        "chest_xray",
        "radiology",
        ("chest X-ray", "frontal chest radiograph"),
        _findings(
            normal="no acute finding; clear lungs and normal heart size",
            pneumonia="pneumonia; {lesion_size} consolidation in the {side} lung, pneumonia; pneumonia with a "
            "{lesion_size} opacity of the {side} lung",
            pleural_effusion="pleural effusion; {lesion_size} {side} pleural effusion; {lesion_size}"
            " effusion blunting the "
            "{side} costophrenic angle",
            cardiomegaly="cardiomegaly; enlarged cardiac silhouette",
        ),
        "dark lungs either side of a bright mediastinum and heart, ribs as fine oblique bands, bright diaphragm domes",
    ),
    Modality(
        "ct",
        "radiology",
        ("abdominal CT", "axial CT slice of the abdomen"),
        _findings(
            normal="no focal lesion; unremarkable liver and kidneys",
            liver_lesion="liver lesion; {count} {lesion_size} hypodense liver lesions; liver "
            "with {count} {lesion_size} dark"
            " lesions",
            renal_mass="renal mass; {lesion_size} mass of the {side} kidney; {side} renal mass, {lesion_size}",
        ),
        "an oval body on black, thin bright skin and grey fat rim, large liver at image left, bright "
        "vertebra, two kidneys",
    ),
    Modality(
        "brain_mri",
        "neurology",
        ("brain MRI", "axial T1-weighted MRI of the brain"),
        _findings(
            normal="no abnormality; normal brain parenchyma",
            tumour="enhancing tumour; {lesion_size} enhancing tumour in the {side} hemisphere; {side} sided "
            "{lesion_size} enhancing mass",
            white_matter_lesions="white matter lesions; {count} white matter lesions; demyelination with"
            " {count} periventricular "
            "lesions",
        ),
        "an oval head on black, bright scalp, dark skull, folded grey cortex around lighter white matter, "
        "dark ventricles",
    ),
    Modality(
        "breast_ultrasound",
        "radiology",
        ("breast ultrasound", "B-mode sonogram of the breast"),
        _findings(
            normal="no mass; normal fibroglandular tissue",
            benign="benign mass; {lesion_size} circumscribed oval benign mass; {lesion_size} benign mass with "
            "posterior enhancement",
            malignant="malignant mass; {lesion_size} irregular malignant mass; {lesion_size} spiculated malignant mass "
            "with shadowing",
        ),
        "horizontal layers of speckle, bright skin line on top, echogenic fibrous strands, masses dark with"
        " shadow or glow below",
    ),
    Modality(
        "fundus",
        "ophthalmology",
        ("fundus photograph", "colour photograph of the retina"),
        _findings(
            no_dr="no diabetic retinopathy; no diabetic retinopathy, {side} eye; ICDR grade {grade}, healthy {side} "
            "retina",
            mild_npdr="mild nonproliferative diabetic retinopathy; mild nonproliferative diabetic retinopathy, {side} "
            "eye; ICDR grade {grade}, microaneurysms only, {side} retina",
            moderate_npdr="moderate nonproliferative diabetic retinopathy; moderate "
            "nonproliferative diabetic retinopathy, "
            "{side} eye; ICDR grade {grade}, haemorrhages and exudates, {side} retina",
            severe_npdr="severe nonproliferative diabetic retinopathy; severe nonproliferative "
            "diabetic retinopathy, {side}"
            " eye; ICDR grade {grade}, haemorrhages in four quadrants, {side} retina",
            pdr="proliferative diabetic retinopathy; proliferative diabetic retinopathy, {side} eye; ICDR grade "
            "{grade}, neovascularisation, {side} retina",
        ),
        "an orange-red disc on black, bright optic disc to one side, branching vessels, darker macula, red "
        "and yellow lesions",
    ),
    Modality(
        "retinal_oct",
        "ophthalmology",
        ("retinal OCT", "optical coherence tomography B-scan of the macula"),
        _findings(
            normal="normal retinal layers; normal foveal contour",
            drusen="drusen; {count} drusen; {count} drusen lifting the pigment epithelium",
            dme="diabetic macular oedema; macular oedema with intraretinal cysts",
            cnv="choroidal neovascularisation; neovascular membrane with subretinal fluid",
        ),
        "bands of grey and white speckle across a dark field, a dip at the fovea, a bright lowest band over"
        " a fading choroid",
    ),
    Modality(
        "dermoscopy",
        "dermatology",
        ("dermoscopy", "dermoscopic image of the skin"),
        _findings(
            naevus="benign naevus; {lesion_size} benign naevus; {lesion_size} symmetric melanocytic naevus",
            melanoma="melanoma; {lesion_size} melanoma; {lesion_size} asymmetric melanoma, several colours",
            seborrhoeic_keratosis="seborrhoeic keratosis; {lesion_size} seborrhoeic keratosis; "
            "{lesion_size} waxy seborrhoeic "
            "keratosis",
        ),
        "a brown lesion in the middle of pink to brown skin, sometimes hairs across it, darker corners",
    ),
    Modality(
        "histopathology",
        "pathology",
        ("H&E histopathology", "haematoxylin and eosin stained section"),
        _findings(
            normal="normal glands; regular glandular tissue",
            tumour="carcinoma; crowded pleomorphic tumour cells",
            inflammation="inflammation; dense lymphocytic infiltrate",
        ),
        "pink stroma with purple nuclei, white lumina ringed by nuclei where glands are, crowded dark "
        "nuclei where tumour is",
    ),
    Modality(
        "blood_smear",
        "pathology",
        ("blood smear", "stained peripheral blood film"),
        _findings(
            neutrophil="neutrophil; neutrophil with a segmented nucleus",
            lymphocyte="lymphocyte; lymphocyte with a round dense nucleus",
            eosinophil="eosinophil; eosinophil with orange granules",
            monocyte="monocyte; monocyte with a kidney-shaped nucleus",
        ),
        "pale pink red cells with lighter centres on a near-white ground around one larger white cell with "
        "a purple nucleus",
    ),
    Modality(
        "endoscopy",
        "gastroenterology",
        ("colonoscopy", "endoscopic view of the colon"),
        _findings(
            normal="normal mucosa; healthy colonic folds",
            polyp="polyp; {lesion_size} polyp on the {side} wall; {lesion_size} polypoid lesion, {side} side",
            colitis="ulcerative colitis; inflamed mucosa with ulcers",
        ),
        "a pink-red tube seen end on, folds as rings around a dark lumen, wet highlights, a black surround "
        "with cut corners",
    ),
)

MODALITIES: dict[str, Modality] = {row.key: row for row in _ROWS}
SPECIALTIES: tuple[str, ...] = tuple(dict.fromkeys(row.specialty for row in _ROWS))


def finding_of(modality: str, key: str) -> Finding:
    """The finding `key` of a modality; an unknown modality or key is given a plain generic one."""
    row = MODALITIES.get(modality)
    for finding in row.findings if row else ():
        if finding.key == key:
            return finding
    words = key.replace("_", " ")
    return Finding(key, words, (words,))


def modality_names(modality: str) -> tuple[str, ...]:
    """The names a modality goes by in captions; an unknown key is spelt with blanks."""
    row = MODALITIES.get(modality)
    return row.names if row else (modality.replace("_", " "),)


def caption(
    modality: str,
    finding: str,
    attributes: Mapping[str, object] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> str:
    """One caption of an image, in the table's words.

    `attributes` may hold side, lesion_size, count and grade; a phrase whose placeholder has no
    value gives way to the finding's plain name. With `rng` template, name and phrase are drawn
    among the paraphrases; without it the first of each is taken.
    """
    known = {k: v for k, v in (attributes or {}).items() if v not in (None, "", -1)}
    if isinstance(known.get("count"), int | np.integer):
        count = int(known["count"])  # type: ignore[call-overload]
        known["count"] = COUNT_WORDS[count] if count < len(COUNT_WORDS) else str(count)

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))] if rng else options[0]

    entry = finding_of(modality, finding)
    try:
        phrase = pick(entry.phrases).format(**known)
    except KeyError:
        phrase = entry.name
    return pick(TEMPLATES).format(name=pick(modality_names(modality)), finding=phrase)
