"""Rules become verdicts, result files keep their contract, the scorecard reads nothing else."""

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from medisyn_lib.claims.claim import (
    Control,
    Measure,
    count,
    judge,
    make_claim,
    measure,
    worst_verdict,
)
from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import Result, read_result, write_result
from medisyn_lib.claims.rules import rule_sha
from medisyn_lib.claims.scorecard import (
    add_to_model_card,
    decided,
    measured,
    published,
    scorecard,
    scorecard_markdown,
)
from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate

SEEN = Control("real images", "positive", "at the ceiling", 0.97, True)
RULE = "modality read back at 95% or more, lower bound of the 95% interval"


def a_claim(**changes):
    given = {
        "id": "modalities",
        "statement": "one model for ten modalities",
        "source": "arXiv 2405.09806 v7",
        "rule": RULE,
        "passed": True,
        "primary": "read back",
        "detectable": 0.02,
        "measures": [
            measure("read back", Estimate(0.97, 0.95, 0.99, 400), unit="share", encoder="efflite0")
        ],
        "controls": [SEEN],
    }
    return make_claim(**(given | changes))


@pytest.mark.parametrize(
    ("passed", "partly", "controls", "verdict"),
    [
        (True, False, [SEEN], "reproduced"),
        (False, True, [SEEN], "partly"),
        (False, False, [SEEN], "not reproduced"),
        (None, True, [SEEN], "not testable here"),
        (True, False, [SEEN, replace(SEEN, passed=False)], "not testable here"),
    ],
)
def test_judge(passed, partly, controls, verdict):
    assert judge(passed, partly, controls) == verdict


def test_worst():
    assert worst_verdict(["reproduced", "not testable here", "partly"]) == "not testable here"
    assert worst_verdict(["not testable here", "not reproduced"]) == "not testable here"
    assert worst_verdict(["partly", "not reproduced", "reproduced"]) == "not reproduced"
    assert worst_verdict([]) == "not testable here"


def test_primary_without_interval_is_not_testable():
    bare = measure("read back", Estimate(0.97, None, None, 2))
    assert a_claim(measures=[bare]).verdict == "not testable here"


def test_a_count_is_one_number_without_interval():
    assert count("images", 3, unit="n") == Measure(
        "images", "count", 3.0, None, None, 1, 1, "n", None
    )


def test_rule_sha_ignores_wrapping_only():
    assert rule_sha("at least 95%, in\n#   all") == rule_sha('"at least 95%, in " "all"')
    assert rule_sha("at least 95%") != rule_sha("at least 90%")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"primary": "other"}, "primary measure 'other'"),
        ({"measures": [count("read back", 3.0, kind="machine")]}, "not of kind machine"),
        (
            {"measures": [Measure("read back", "estimate", 0.5, 0.6, 0.7, 9, 1, "", None)]},
            "inside its interval",
        ),
        (
            {"measures": [Measure("read back", "count", float("nan"), None, None, 9, 1, "", None)]},
            "finite",
        ),
        ({"measures": [count("read back", 3), count("read back", 4)]}, "one name"),
        ({"controls": [replace(SEEN, kind="odd")]}, "positive or negative"),
    ],
)
def test_broken_claims_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        a_claim(**changes)


def test_a_verdict_put_in_by_hand_needs_both_an_interval_and_passed_controls():
    sound = a_claim()
    bare = (measure("read back", Estimate(0.97, None, None, 2)),)
    for part in ({"measures": bare}, {"controls": (replace(SEEN, passed=False),)}):
        with pytest.raises(ValueError, match="needs an interval and passed controls"):
            replace(sound, **part)
        assert replace(sound, verdict="not testable here", **part).verdict == "not testable here"


def test_result_round_trip_and_main_claims(tmp_path: Path):
    path = tmp_path / "results" / "01_training.json"
    good, side = a_claim(), a_claim(id="side", passed=False)
    write_result(path, {"profile": "tiny"}, [good, side], main=["modalities"])
    found = read_result(path)
    assert found == Result({"profile": "tiny"}, "reproduced", (good, side))
    write_result(path, {}, [good, side])
    assert read_result(path).verdict == "not reproduced"
    assert set(json.loads(path.read_text())) == {"provenance", "verdict", "claims"}


def without(name):
    return {key: value for key, value in asdict(a_claim()).items() if key != name}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ('{"claims": []}', "provenance"),
        (json.dumps({"provenance": {}, "verdict": "fine", "claims": []}), "unknown verdict 'fine'"),
        (json.dumps({"provenance": {}, "verdict": "partly", "claims": [without("rule")]}), "rule"),
        (
            json.dumps(
                {
                    "provenance": {},
                    "verdict": "partly",
                    "claims": [without("rule") | {"rule": "easier"}],
                }
            ),
            "not as the rule says",
        ),
    ],
)
def test_broken_result_files_are_named(tmp_path: Path, content, said):
    path = tmp_path / "01_training.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_result(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_scorecard_prints_what_is_there_and_names_what_is_not(tmp_path: Path):
    write_result(tmp_path / "01_training.json", {}, [a_claim(statement="one | model")])
    rows = scorecard(tmp_path)
    assert [row["verdict"] for row in rows] == ["reproduced"] + ["not run"] * 6
    assert (
        rows[0]["value"] == "0.97 share"
        and rows[0]["interval"] == "0.95 to 0.99"
        and rows[0]["controls"] == "1 of 1"
    )
    lines = scorecard_markdown(rows).splitlines()
    assert len(lines) == 9 and "one \\| model" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_the_scorecard_begins_with_what_was_claimed_and_found():
    rows = [
        {"notebook": "01", "value": "1 | 2", "claim": "c", "verdict": "partly"},
        {"notebook": "02", "n": "3"},
    ]
    head, line, first, second = scorecard_markdown(rows).splitlines()
    assert (
        head == "| notebook | claim | verdict | value | n |"
        and line == "| --- | --- | --- | --- | --- |"
    )
    assert first == "| 01 | c | partly | 1 \\| 2 |  |" and second == "| 02 |  |  |  | 3 |"


def test_published_tells_what_full_runs_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    assert published("01_training") == "no full run is committed"
    write_result(
        tmp_path / "results" / "full-phantom" / "01_training.json", {}, [a_claim(statement="one")]
    )
    told = published("01_training")
    assert (
        told.startswith("full-phantom, one: reproduced (")
        and "0.97 share, 95% interval 0.95 to 0.99, n = " in told
    )
    assert published("02_quality") == "no full run is committed"


def test_a_control_that_several_claims_rest_on_is_said_once():
    claims = [a_claim(), a_claim(id="side", controls=[replace(SEEN, passed=False)])]
    assert measured(claims[:1] * 2).splitlines()[0].startswith("positive control real images")
    assert measured(claims[:1] * 2).count("real images") == 1
    assert "control real images: FAILED (expected at the ceiling)" in decided(claims)
    last = decided(claims, in_simulation=["side"]).splitlines()[-2:]
    assert last == ["modalities: reproduced", "side: not testable here, in simulation"]


def test_a_model_card_holds_the_latest_scorecard_alone(tmp_path: Path):
    card = tmp_path / "model_card.md"
    add_to_model_card(card, "| a |\n")
    assert not card.exists()
    card.write_text("# Card\n")
    for table in ("| a |\n", "| b |\n"):
        add_to_model_card(card, table)
        assert card.read_text() == f"# Card\n\n## Verdicts\n\n{table}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def commit(folder: Path) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), "add", "."], check=True)
    subprocess.run(["git", "-C", str(folder), *who, "commit", "-qm", "step"], check=True)


def state_rule(folder: Path) -> None:
    words = RULE.split(" lower")
    (folder / "notebooks" / "01_training.py").write_text(f"# > {words[0]}\n# lower{words[1]}\n")


def test_rule_committed_first(checkout: Path):
    result = checkout / "results" / "01_training.json"
    state_rule(checkout)
    commit(checkout)
    write_result(result, {}, [a_claim()])
    assert rule_committed_before_result(RULE, result) is True
    commit(checkout)
    assert rule_committed_before_result(RULE, result) is True
    assert rule_committed_before_result("an easier rule", result) is False


def test_rule_committed_with_or_after_the_result(checkout: Path):
    result = checkout / "results" / "01_training.json"
    write_result(result, {}, [a_claim()])
    state_rule(checkout)
    commit(checkout)
    assert rule_committed_before_result(RULE, result) is False
    (checkout / "more").write_text("")
    commit(checkout)
    assert rule_committed_before_result(RULE, result) is False


def test_rule_order_unknown_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    state_rule(tmp_path)
    assert rule_committed_before_result(RULE, tmp_path / "results" / "01_training.json") is None
