"""Was a rule committed before the result that it judges?"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from medisyn_lib.claims.rules import parse_rules
from medisyn_lib.runtime.paths import project_root
from medisyn_lib.runtime.provenance import git

RULES_IN_GIT = "medisyn_lib/claims/rules.toml"


def rule_committed_before_result(rule_sha: str, result: Path) -> bool | None:
    """Say whether git held a rule, words and numbers, before it first held the result that carries its fingerprint.

    A result that is not committed yet is compared with HEAD. None where there is no git history to ask.
    """
    root, place = project_root(), result.resolve()
    try:
        asked = ("rev-parse", "--is-shallow-repository", "--show-toplevel", "HEAD")
        shallow, top, _ = git(root, *asked).splitlines()
        if shallow == "true":
            return None
        search = ["log", "--reverse", "--format=%H", f"-S{rule_sha}", "--", str(place)]
        commits = git(root, *search).split() if place.is_relative_to(top) else []
    except (OSError, subprocess.SubprocessError):
        return None
    before = f"{commits[0]}^" if commits else "HEAD"
    return rule_sha in _fingerprints_at(root, before)


def _fingerprints_at(root: Path, commit: str) -> set[str]:
    """The fingerprints of the rules in a commit; none where their file was not there or not yet as it is."""
    try:
        rules = parse_rules(git(root, "show", f"{commit}:./{RULES_IN_GIT}"))
    except (subprocess.SubprocessError, tomllib.TOMLDecodeError, KeyError):
        return set()
    return {rule.sha for rule in rules.values()}
