"""The model card of one of the project's own generators, beside the results about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medisyn_lib.runtime import store

if TYPE_CHECKING:
    from medisyn_lib.pipeline.judged import JudgedGenerator


def copy_model_card(judged: JudgedGenerator, folder: Path) -> None:
    """Copy a generator's card to `model_card.md` in a folder, with where the generator lies."""
    generator = Path(judged.model)
    card = (generator / "README.md").read_text("utf-8")
    place = f"The store keeps it as `{generator.name}`."
    if judged.is_flagship:
        place = "It ships with the package `medisyn_lib`."
    store.write_atomic(folder / "model_card.md", f"{card}\n{place}\n")
