"""The model card of a generator that was trained here, beside the results about it."""

from __future__ import annotations

from pathlib import Path

from medisyn_lib.runtime import store


def copy_model_card(generator: Path, folder: Path) -> None:
    """Copy a generator's card to `model_card.md` in a folder, with the name that the store gives it."""
    card = (generator / "README.md").read_text("utf-8")
    stored_as = f"The store keeps it as `{generator.name}`."
    store.write_atomic(folder / "model_card.md", f"{card}\n{stored_as}\n")
