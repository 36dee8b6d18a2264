"""Rules become verdicts, result files keep their contract, the scorecard reads nothing else."""

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from made_claims import RULE, SEEN, a_claim

from medisyn_lib.claims import rules
from medisyn_lib.claims.claim import (
    BELOW_FLOOR,
    CONTRADICTED,
    CONTROL_FAILED,
    DEMONSTRATION,
    INCONCLUSIVE,
    NEEDS_PEOPLE,
    NOT_RUN,
    PARTLY,
    SUPPORTED,
    VERDICTS,
    Control,
    Judgement,
    Measure,
    count,
    measure,
)
from medisyn_lib.claims.decisions import DECIDERS, replay
from medisyn_lib.claims.floor import better_covered, coverage_measures, under_floor
from medisyn_lib.claims.preregistration import rule_committed_before_result
from medisyn_lib.claims.results import Result, read_result, write_result
from medisyn_lib.claims.scorecard import (
    add_to_model_card,
    findings_of,
    published,
    scorecard,
    scorecard_markdown,
    verdicts,
)
from medisyn_lib.errors import InputError
from medisyn_lib.statistics.estimates import Estimate

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted(ROOT.glob("results/*/[0-9][0-9]_*.json"))


# Rules.


def test_every_rule_has_one_decision_few_words_and_its_numbers() -> None:
    by_name = rules.parse_rules(rules.RULES_FILE.read_text("utf-8"))
    assert set(DECIDERS) == set(by_name)
    for one in by_name.values():
        assert len(one.text.split()) < 120, one.id
        assert "{" not in one.text and one.statement, one.id
        assert rules.rule_of_fingerprint(one.sha) == one


def test_the_page_names_every_rule_and_every_outcome() -> None:
    page = (ROOT / "docs" / "rules.md").read_text("utf-8")
    for word in (*VERDICTS, BELOW_FLOOR, CONTROL_FAILED, NEEDS_PEOPLE, NOT_RUN):
        assert word in page
    for number in range(1, 8):
        assert f"**0{number}**" in page


def test_a_fingerprint_covers_words_and_numbers_and_no_wrapping() -> None:
    wrapped = replace(RULE, text=RULE.text.replace(" ", "\n"))
    assert wrapped.sha == RULE.sha
    assert replace(RULE, text=RULE.text.replace("95%", "90%")).sha != RULE.sha
    assert replace(RULE, thresholds={"least": 0.9}).sha != RULE.sha


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_committed_decision_follows_from_its_file(path: Path) -> None:
    for claim in read_result(path).claims:
        assert replay(claim) == Judgement(claim.verdict, claim.summary, claim.problem), claim.id


def test_a_claim_judged_by_an_older_rule_cannot_be_replayed() -> None:
    with pytest.raises(ValueError, match="no longer in force"):
        replay(a_claim())


# Judgements.


def test_a_failed_control_leaves_no_verdict_and_is_named() -> None:
    failed = Control("blur_seen", "positive", "worse", 0.0, False)
    claim = a_claim(CONTRADICTED, controls=[SEEN, failed])
    assert (claim.verdict, claim.problem) == (None, CONTROL_FAILED)
    assert claim.summary == (
        "Nothing can be said: the control “blur seen” failed (expected: worse)."
    )
    assert claim.outcome == CONTROL_FAILED


def test_a_demonstration_has_no_verdict_but_says_what_it_shows() -> None:
    claim = a_claim(SUPPORTED, evidence=DEMONSTRATION)
    assert (claim.verdict, claim.problem, claim.summary) == (None, None, "Found so.")
    assert claim.outcome == DEMONSTRATION


def covered(efflite0: float | None, transformer: float | None = 0.9) -> dict[str, Measure]:
    """Measures of coverage by two encoders."""
    by_encoder = {
        name: Estimate(value, value, value, 9)
        for name, value in (("efflite0", efflite0), ("transformer", transformer))
    }
    return {one.name: one for one in coverage_measures(by_encoder)}


def test_below_the_floor_nothing_is_supported_and_contradictions_stand() -> None:
    for verdict in (SUPPORTED, PARTLY, INCONCLUSIVE):
        found = under_floor(Judgement(verdict, "Said."), covered(0.04), 0.1)
        assert found[0] == INCONCLUSIVE and found.problem == BELOW_FLOOR
        assert found.summary.startswith(
            "Too poor to judge: the images cover 4% of real ones in features learnt from photographs; 10% is asked"
        )
        assert found.summary.endswith("Said.")
    stands = under_floor(Judgement(CONTRADICTED, "Said."), covered(0.04), 0.1)
    assert stands.verdict == CONTRADICTED
    unknown = under_floor(Judgement(SUPPORTED, "Said."), covered(None), 0.1)
    assert unknown.problem == BELOW_FLOOR and "an unknown part" in unknown.summary
    above = Judgement(SUPPORTED, "Said.")
    assert under_floor(above, covered(0.1, 0.1), 0.1) == above


def test_each_encoder_must_pass_its_floor() -> None:
    """What one encoder sees covered does not make up for what the other does not: 0 and 0.66 is no 0.33."""
    supported = Judgement(SUPPORTED, "Said.")
    for pair, by in (((0.0, 0.66), "photographs"), ((0.66, 0.0), "these modalities")):
        found = under_floor(supported, covered(*pair), 0.1)
        assert found.problem == BELOW_FLOOR and f"learnt from {by}; 10%" in found.summary


def test_the_better_model_is_the_one_whose_least_coverage_is_larger() -> None:
    near, uneven = (
        {name: Estimate(value, None, None, 9) for name, value in zip("ab", values, strict=True)}
        for values in ((0.3, 0.2), (0.9, 0.1))
    )
    assert better_covered(near, uneven) is near and better_covered(uneven, near) is near
    unknown = {"a": Estimate(None, None, None, 0), "b": Estimate(0.9, None, None, 9)}
    assert better_covered(unknown, uneven) is uneven


def test_a_count_is_one_number_without_interval() -> None:
    three = Measure("images", "count", 3.0, None, None, 1, 1, "n", None)
    assert count("images", 3, unit="n") == three


def test_limits_decide_and_missing_ones_do_not() -> None:
    inside = measure("x", Estimate(0.5, 0.4, 0.6, 9))
    assert inside.above(0.4) and not inside.above(0.41)
    assert inside.below(0.61) and not inside.below(0.6)
    bare = measure("x", Estimate(0.5, None, None, 9))
    assert not bare.above(-9) and not bare.below(9)
    open_above = measure("x", Estimate(0.5, 0.5, None, 9))
    assert open_above.above(0.5) and not open_above.below(9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"primary": "other"}, "primary measure 'other'"),
        ({"measures": [count("recovered", 3.0, kind="machine")]}, "not of kind machine"),
        (
            {"measures": [Measure("recovered", "estimate", 0.5, 0.6, 0.7, 9, 1, "", None)]},
            "inside its interval",
        ),
        (
            {"measures": [Measure("recovered", "count", float("nan"), None, None, 9, 1, "", None)]},
            "finite",
        ),
        ({"measures": [count("recovered", 3), count("recovered", 4)]}, "one name"),
        ({"controls": [replace(SEEN, kind="odd")]}, "positive or negative"),
        ({"evidence": "hearsay"}, "unknown evidence"),
        ({"verdict": "reproduced"}, "unknown problem"),
        ({"verdict": None}, "does not fit problem None"),
        ({"problem": NEEDS_PEOPLE}, "does not fit problem 'needs people'"),
        ({"problem": BELOW_FLOOR}, "'supported' below the quality floor"),
    ],
)
def test_broken_claims_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        a_claim(**changes)


def test_without_an_interval_a_claim_is_inconclusive() -> None:
    bare = measure("recovered", Estimate(0.97, None, None, 2))
    assert a_claim(measures=[bare]).verdict == INCONCLUSIVE
    with pytest.raises(ValueError, match="needs an interval"):
        replace(a_claim(), measures=(bare,))


def test_a_verdict_put_in_by_hand_needs_passed_controls() -> None:
    sound = a_claim()
    failed = (replace(SEEN, passed=False),)
    with pytest.raises(ValueError, match="does not fit its controls"):
        replace(sound, controls=failed)
    assert replace(sound, controls=failed, problem=CONTROL_FAILED, verdict=None).verdict is None


# Result files and scorecard.


def test_result_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "results" / "01_training.json"
    good, side = a_claim(), a_claim(None, problem=NOT_RUN, id="side")
    write_result(path, {"profile": "tiny"}, [good, side])
    assert read_result(path) == Result({"profile": "tiny"}, (good, side))
    assert set(json.loads(path.read_text())) == {"provenance", "claims"}


def without(name: str, **changed: object) -> str:
    entry = {key: value for key, value in asdict(a_claim()).items() if key != name} | changed
    return json.dumps({"provenance": {}, "claims": [entry]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ('{"claims": []}', "provenance"),
        (without("rule"), "rule"),
        (without("", verdict="fine"), "unknown problem None or verdict 'fine'"),
        (without("", older=1), "older"),
    ],
)
def test_broken_result_files_are_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "01_training.json"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_result(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_scorecard_prints_what_is_there_and_names_what_is_not(tmp_path: Path) -> None:
    write_result(tmp_path / "01_training.json", {}, [a_claim(statement="one | model")])
    rows = scorecard(tmp_path)
    assert [row["problem"] for row in rows] == ["none"] + [NOT_RUN] * 6
    first = rows[0]
    assert (first["verdict"], first["evidence"], first["found"]) == (
        SUPPORTED,
        "exploratory",
        "Found so.",
    )
    assert (first["value"], first["interval"]) == ("0.97 share", "0.95 to 0.99")
    assert first["controls"] == "1 of 1"
    lines = scorecard_markdown(rows).splitlines()
    assert len(lines) == 9 and "one \\| model" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [((None, None), "none"), ((0.9, None), "at least 0.9"), ((None, 1.0), "at most 1")],
)
def test_the_scorecard_says_which_limit_is_open(
    tmp_path: Path, limits: tuple[float | None, float | None], said: str
) -> None:
    open_one = measure("recovered", Estimate(0.97, *limits, 9))
    write_result(tmp_path / "01_training.json", {}, [a_claim(INCONCLUSIVE, measures=[open_one])])
    assert scorecard(tmp_path)[0]["interval"] == said


def test_the_scorecard_begins_with_what_was_found() -> None:
    rows = [
        {"notebook": "01", "value": "1 | 2", "claim": "c", "verdict": "v", "found": "Much."},
        {"notebook": "02", "n": "3"},
    ]
    head, line, first, second = scorecard_markdown(rows).splitlines()
    assert head == "| notebook | claim | verdict | found | value | n |"
    assert line == "| --- | --- | --- | --- | --- | --- |"
    assert first == "| 01 | c | v | Much. | 1 \\| 2 |  |"
    assert second == "| 02 |  |  |  |  | 3 |"


def test_published_tells_what_committed_runs_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    assert published("01_training") == "no run is committed yet"
    path = tmp_path / "results" / "full-phantom" / "01_training.json"
    write_result(path, {}, [a_claim()])
    assert published("01_training") == "full-phantom: c: supported (exploratory). Found so."
    assert published("02_quality") == "no run is committed yet"


def test_what_was_found_names_a_shared_control_once() -> None:
    failed = replace(SEEN, passed=False)
    told = findings_of([a_claim(), a_claim(id="side")])
    assert told.splitlines() == [
        "positive control real_images: passed (0.97, expected: at the ceiling)",
        "c: supported (exploratory). Found so.",
        "side: supported (exploratory). Found so.",
    ]
    assert "real_images: FAILED (0.97" in findings_of([a_claim(controls=[failed])])


def test_the_words_that_hold_everywhere_name_no_number_and_no_chance() -> None:
    """Verdicts of a finished generator; of what was trained for minutes only what is controlled."""
    told = verdicts([a_claim()])
    assert told.splitlines() == [
        "positive control real_images: passed",
        "c: supported (exploratory)",
    ]
    failed = [replace(SEEN, passed=False)]
    shown = [a_claim(evidence=DEMONSTRATION, controls=controls) for controls in ([SEEN], failed)]
    first, second = (verdicts([one]) for one in shown)
    assert first == second
    assert "demonstration, shown and not judged (1 measures, primary recovered)" in first


def test_a_model_card_holds_the_latest_scorecard_alone(tmp_path: Path) -> None:
    card = tmp_path / "model_card.md"
    add_to_model_card(card, "| a |\n")
    assert not card.exists()
    card.write_text("# Card\n")
    for table in ("| a |\n", "| b |\n"):
        add_to_model_card(card, table)
        assert card.read_text() == f"# Card\n\n## Verdicts\n\n{table}"


# Was the rule there first?


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "medisyn_lib" / "claims").mkdir(parents=True)
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def commit(folder: Path) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), "add", "."], check=True)
    subprocess.run(["git", "-C", str(folder), *who, "commit", "-qm", "step"], check=True)


def state_rule(folder: Path, least: float = 0.95) -> None:
    lines = [
        "[r]",
        'statement = "s"',
        f'text = "{RULE.text}"',
        "[r.thresholds]",
        f"least = {least}",
    ]
    (folder / "medisyn_lib" / "claims" / "rules.toml").write_text("\n".join(lines))


def test_rule_committed_first(checkout: Path) -> None:
    result = checkout / "results" / "01_training.json"
    state_rule(checkout)
    commit(checkout)
    write_result(result, {}, [a_claim()])
    assert rule_committed_before_result(RULE.sha, result) is True
    commit(checkout)
    assert rule_committed_before_result(RULE.sha, result) is True
    easier = replace(RULE, thresholds={"least": 0.5})
    assert rule_committed_before_result(easier.sha, result) is False


def test_rule_whose_number_changed_with_the_result(checkout: Path) -> None:
    result = checkout / "results" / "01_training.json"
    state_rule(checkout, least=0.99)
    commit(checkout)
    state_rule(checkout)
    write_result(result, {}, [a_claim()])
    commit(checkout)
    assert rule_committed_before_result(RULE.sha, result) is False
    (checkout / "more").write_text("")
    commit(checkout)
    assert rule_committed_before_result(RULE.sha, result) is False


def test_rule_order_unknown_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDISYN_ROOT", str(tmp_path))
    assert rule_committed_before_result(RULE.sha, tmp_path / "results" / "01.json") is None
