"""The rules of the claims: their words and numbers, read from `rules.toml`, and the fingerprint of both."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RULES_FILE = Path(__file__).with_name("rules.toml")


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    id : str
        Its name in `rules.toml`.
    statement : str
        What is claimed.
    text : str
        When the claim is supported, contradicted and so on, with its numbers.
    thresholds : mapping of str to float
        The numbers.
    """

    id: str
    statement: str
    text: str
    thresholds: Mapping[str, float]

    @property
    def sha(self) -> str:
        """The rule's fingerprint: 16 hex digits of SHA-256 of its letters and digits and its thresholds."""
        content = letters(self.text) + json.dumps(dict(self.thresholds), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def rule(id: str) -> Rule:
    """Return the rule of this name."""
    return _rules()[id]


def rule_of_fingerprint(sha: str) -> Rule | None:
    """Return the rule that has this fingerprint today; None where none has."""
    return next((one for one in _rules().values() if one.sha == sha), None)


def parse_rules(toml: str) -> dict[str, Rule]:
    """Read rules from the text of a `rules.toml`, by name."""
    rules = {}
    for id, entry in tomllib.loads(toml).items():
        thresholds = entry["thresholds"]
        text = entry["text"].strip().format(**thresholds)
        rules[id] = Rule(id, entry["statement"], text, thresholds)
    return rules


def letters(text: str) -> str:
    """Return a text's letters and digits, so that neither wrapping nor quotes nor signs count."""
    return re.sub(r"[\W_]+", "", text)


@cache
def _rules() -> dict[str, Rule]:
    return parse_rules(RULES_FILE.read_text("utf-8"))
