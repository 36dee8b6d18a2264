"""Was a rule committed before the result that it judges?

A rule stands once, in the module of its claim. Results older than that module were judged by a rule in
their notebook's paired script, so both places are searched in the commit before the result.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from medisyn_lib.claims.rules import letters, rule_sha
from medisyn_lib.runtime.paths import project_root
from medisyn_lib.runtime.provenance import git

HOMES = ("medisyn_lib/claims/c{name}.py", "notebooks/{name}.py")


def rule_committed_before_result(rule: str, result: Path) -> bool | None:
    """Say whether git held the rule before it first held the result that carries the rule's fingerprint.

    A result that is not committed yet is compared with HEAD. None where there is no git history to ask.
    """
    root, place = project_root(), result.resolve()
    try:
        asked = ("rev-parse", "--is-shallow-repository", "--show-toplevel", "HEAD")
        shallow, top, _ = git(root, *asked).splitlines()
        if shallow == "true":
            return None
        search = ["log", "--reverse", "--format=%H", f"-S{rule_sha(rule)}", "--", str(place)]
        commits = git(root, *search).split() if place.is_relative_to(top) else []
    except (OSError, subprocess.SubprocessError):
        return None
    before = f"{commits[0]}^" if commits else "HEAD"
    texts = [_text_at(root, before, home.format(name=result.stem)) for home in HOMES]
    return any(letters(rule) in letters(text) for text in texts)


def _text_at(root: Path, commit: str, name: str) -> str:
    """A file's text in a commit; empty where it was not there, or the commit is none."""
    try:
        return git(root, "show", f"{commit}:./{name}")
    except subprocess.SubprocessError:
        return ""
