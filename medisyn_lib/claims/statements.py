"""What the notebooks test, in one sentence each, so that the scorecard can name a claim that was not run."""

NOTEBOOKS: dict[str, str] = {
    "01_training": "one text-guided model for 6 specialties and 10 modalities",
    "02_quality": "diverse training does not degrade quality",
    "03_compute_efficiency": "one generalist needs substantially less compute than a coordinated suite",
    "04_text_alignment": "realistic and text-aligned",
    "05_memorization": "visually distinct from real patient images",
    "06_augmentation": "synthetic images improve classifiers when data is limited",
    "07_reference_standards": "how grader disagreement is resolved matters",
}
