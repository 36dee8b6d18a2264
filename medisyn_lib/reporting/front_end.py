"""Who runs a notebook: a person in front of it, or a program."""

from __future__ import annotations

__all__ = ["is_attended"]


def is_attended() -> bool:
    """Say whether the front end that runs this cell can ask a person: JupyterLab can, nbval and papermill cannot."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))
