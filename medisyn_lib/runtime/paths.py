"""Where things lie. Every other module takes its absolute paths from here."""

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that relative paths start from, and that holds notebooks/, results/ and figures/.

    MEDISYN_ROOT; else the checkout that this package runs from; else, for an installed package, the working directory.
    """
    if named := os.environ.get("MEDISYN_ROOT"):
        return Path(os.path.expanduser(named)).resolve()
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def store_dir() -> Path:
    """The artifact store: MEDISYN_STORE, else `medisyn` in the user's cache folder. Not created."""
    if named := os.environ.get("MEDISYN_STORE"):
        return project_root() / os.path.expanduser(named)
    from platformdirs import user_cache_path

    return user_cache_path("medisyn", appauthor=False)


def resolve_out(out: str | Path) -> Path:
    """An output folder as an absolute path; a relative one lies below the project's root."""
    return Path(os.path.normpath(project_root() / os.path.expanduser(out)))


def from_shell(path: str | Path) -> Path:
    """A path typed on the command line, absolute; a relative one starts where the shell stands."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def from_root(path: str | Path) -> str:
    """A path as written from the project's root: what `resolve_out` turns back into that path."""
    return os.path.relpath(from_shell(path), project_root())
