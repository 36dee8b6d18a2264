"""Where files are. Every other module takes its absolute paths from here."""

import os
from pathlib import Path

__all__ = ["from_root", "from_shell", "project_root", "resolve_out", "store_dir"]


def project_root() -> Path:
    """Return the folder that relative paths start from, and that holds notebooks/, results/ and figures/.

    It is MEDISYN_ROOT; else the checkout that this package runs from; else, for an installed package,
    the working directory.
    """
    root = os.environ.get("MEDISYN_ROOT")
    if root:
        return Path(os.path.expanduser(root)).resolve()
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def store_dir() -> Path:
    """Return the artifact store: MEDISYN_STORE, else `medisyn` in the user's cache folder. Not created."""
    folder = os.environ.get("MEDISYN_STORE")
    if folder:
        return project_root() / os.path.expanduser(folder)
    from platformdirs import user_cache_path

    return user_cache_path("medisyn", appauthor=False)


def resolve_out(out: str | Path) -> Path:
    """Return an output folder as an absolute path; a relative one starts at the project's root."""
    return Path(os.path.normpath(project_root() / os.path.expanduser(out)))


def from_shell(path: str | Path) -> Path:
    """Return a path typed on the command line as an absolute one; it starts in the working directory."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def from_root(path: str | Path) -> str:
    """Return a path relative to the project's root: `resolve_out` turns it back into that path."""
    return os.path.relpath(from_shell(path), project_root())
