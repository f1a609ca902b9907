"""The page says what the run measured, names what it did not, and lets nothing in that is not its own."""

import copy
import html
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.evaluate.evidence import score_evidence
from leanrisk.report.facts import Facts
from leanrisk.report.fidelity import by_step
from leanrisk.report.page import SECTIONS, render, write_report
from leanrisk.report.words import Words, languages
from tests.report import sample_run

HOSTILE = '<script>alert("1")</script>\'"&{{7*7}}{%x%}'


def page_of(result, evidence, language="en"):
    return render(Facts(result, where="result.json"), Facts(evidence, where="evidence.json"), Words.of(language))


def text_of(page):
    """The visible text of a page: no style sheet, no tags."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def paths_of(document, path=()):
    """Every path of a JSON document, to objects and to values."""
    for key, value in document.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, key))


def without(document, paths, *, as_null):
    changed = copy.deepcopy(document)
    for path in paths:
        holder = changed
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            if as_null:
                holder[path[-1]] = None
            else:
                del holder[path[-1]]
    return changed


RESULT, EVIDENCE = sample_run.result(), sample_run.evidence()
RESULT_PATHS, EVIDENCE_PATHS = list(paths_of(RESULT)), list(paths_of(EVIDENCE))


@pytest.mark.parametrize("language", languages())
def test_the_page_has_every_section_and_every_chart(run, language):
    page = write_report(run, language=language).read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in SECTIONS)
    assert page.count("<figure") == page.count('class="chart"') == 16
    assert f'lang="{Words.of(language)("html_lang")}"' in page


def test_the_headline_names_its_reference_and_the_references_it_does_not_beat(run):
    text = text_of(write_report(run).read_text(encoding="utf-8"))
    assert "takes 90.6% less CPU time than the incumbent's full routine" in text
    assert "98.1% less time (p50) than the incumbent served the usual way" in text
    assert "is better in KS (by 0.011) and shows no difference in AUC" in text
    assert "41.9% more CPU time than the incumbent refitted with fixed parameters" in text
    assert "362.8% more CPU time than a slim tree ensemble on the lean features" in text


def test_all_three_cost_references_and_the_break_even_stand_in_the_table(run):
    text = text_of(write_report(run).read_text(encoding="utf-8"))
    for figure in ("451.3\u00a0s", "29.8\u00a0s", "9.1\u00a0s", "42.3\u00a0s", "534.8\u00a0s"):
        assert figure in text
    assert "Paid back after 1.3 refreshes against the full routine." in text
    assert "Never paid back against the refit" in text


def test_what_was_not_measured_says_so(run):
    page = write_report(run).read_text(encoding="utf-8")
    row = re.search(r"p50 against the incumbent compiled.*?</tr>", page, flags=re.DOTALL)
    assert row is not None
    assert row[0].count("not measured") == 2


def test_a_run_without_evidence_still_has_its_page(run):
    (run / "evidence.json").unlink()
    page = write_report(run).read_text(encoding="utf-8")
    assert page.count("Not measured in this run, so there is nothing to draw.") == 8
    assert "0.4177" in page


@pytest.mark.parametrize("language", languages())
def test_an_empty_result_makes_a_page_of_gaps(language):
    words = Words.of(language)
    text = text_of(page_of({}, {}, language))
    assert words("headline.cost_absent") in text.replace("The cost", "the cost")
    assert text.count(words("absent_chart")) == 14


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(RESULT_PATHS), max_size=6),
    st.lists(st.sampled_from(EVIDENCE_PATHS), max_size=6),
    st.booleans(),
    st.sampled_from(languages()),
)
def test_any_missing_part_leaves_a_whole_page(result_paths, evidence_paths, as_null, language):
    curves = {"fpr", "tpr", "share", "bad", "good", "train", "test"}
    evidence_paths = [path for path in evidence_paths if path[-1] not in curves]
    page = page_of(
        without(RESULT, result_paths, as_null=as_null), without(EVIDENCE, evidence_paths, as_null=as_null), language
    )
    assert page.rstrip().endswith("</html>")
    assert "None" not in text_of(page)
    assert "nan" not in text_of(page).lower().replace("nanum", "")


def test_names_from_the_data_never_become_markup():
    result, evidence = copy.deepcopy(RESULT), copy.deepcopy(EVIDENCE)
    result["scenario"] = result["data"]["name"] = result["created"] = HOSTILE
    result["machine"] = {HOSTILE: HOSTILE}
    for side in ("incumbent", "lean"):
        result[side]["quality"][HOSTILE] = 0.5
    for step in result["steps"]:
        step["technique"] = step["reason"] = HOSTILE
    for gate in result["gates"]:
        gate["name"] = HOSTILE
    for move in result["lean"]["tuning"]["frontier"]:
        move["why"] = HOSTILE
    for feature in evidence["psi"]["features"]:
        feature["name"] = HOSTILE
    for row in evidence["dropped"]:
        row["column"] = row["reason"] = HOSTILE
    for phase in evidence["ledger"]:
        phase["phase"] = phase["note"] = phase["currency"] = phase["label"] = HOSTILE
    evidence["limits"] = [HOSTILE]
    for language in languages():
        page = page_of(result, evidence, language)
        assert "<script" not in page
        assert HOSTILE in text_of(page)


def test_the_page_loads_nothing_from_anywhere(run):
    page = write_report(run).read_text(encoding="utf-8")
    addresses = re.findall(r"""(?:src|href|url|action|srcset)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert {address.partition(",")[0] for address in addresses if not address.startswith("#")} == {"data:"}
    assert "<script" not in page
    assert "@import" not in page
    assert len(page.encode()) < 300_000


def test_a_regression_run_has_no_rank_charts_and_says_why(tmp_path):
    text = text_of(write_report(sample_run.write_run(tmp_path, regression=True)).read_text(encoding="utf-8"))
    assert "is better in mean absolute error (by 0.002)" in text
    assert "has no measured difference in root mean squared error" in text
    assert text.count("Not applicable: this run predicts an amount") == 3
    assert "ROC curve" not in text
    assert "The cost of a training round was not measured on both sides" in text


def test_money_saved_as_one_number_is_shown():
    result = without(RESULT, [("savings", "money")], as_null=False)
    result["savings"] |= {"money": 788000.0, "currency": "CNY"}
    assert "CNY\u00a0788,000.00 saved" in text_of(page_of(result, EVIDENCE))


def test_the_page_goes_where_it_is_told_and_replaces_what_stood_there(run, tmp_path):
    out = tmp_path / "deep" / "page.html"
    assert write_report(run, out=out) == out
    first = out.read_bytes()
    assert write_report(run, out=out, language="zh") == out
    assert out.read_bytes() != first
    assert not (run / "report.html").exists()
    assert [file.name for file in out.parent.iterdir()] == ["page.html"]


def test_the_same_run_gives_the_same_bytes(run):
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "result.json").unlink(), "finished run"),
        (lambda run: (run / "result.json").write_text("{"), "valid JSON"),
        (lambda run: (run / "result.json").write_text("[1]"), "JSON object"),
        (lambda run: (run / "evidence.json").write_bytes(b"\xff\xfe"), "finished run"),
        (lambda run: (run / "result.json").write_text('{"lean": {"features": "many"}}'), "result.json.lean.features"),
        (lambda run: (run / "result.json").write_text('{"lean": {"features": Infinity}}'), "finite number"),
        (lambda run: (run / "result.json").write_text('{"lean": 3}'), "must be an object"),
        (lambda run: (run / "evidence.json").write_text('{"roc": {"lean": {"fpr": [0], "tpr": []}}}'), "equally long"),
        (lambda run: (run / "evidence.json").write_text('{"ledger": [3]}'), "list of objects"),
        (lambda run: (run / "result.json").write_text('{"lean": {"tuning": [1]}}'), "lean.tuning must be an object"),
        (lambda run: (run / "result.json").write_text('{"lean": {"tuning": {"frontier": 3}}}'), "must be a list"),
    ],
)
def test_a_broken_run_is_refused_by_name_and_leaves_the_old_page(run, spoil, says):
    old = write_report(run).read_bytes()
    spoil(run)
    with pytest.raises(ConfigError, match=says):
        write_report(run)
    assert (run / "report.html").read_bytes() == old


def test_an_unknown_language_is_refused(run):
    with pytest.raises(ConfigError, match="'fr'"):
        write_report(run, language="fr")


def test_a_page_that_cannot_be_written_is_an_output_error(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        write_report(run, out=tmp_path / "file" / "page.html")


def test_the_sample_keeps_the_documented_keys():
    """The other writers of these files hold to DESIGN section 3; so does the sample, or these tests prove nothing."""
    assert {"incumbent", "lean", "steps", "gates", "savings", "data", "machine", "seed", "scenario"} <= set(RESULT)
    assert json.loads(json.dumps(EVIDENCE)) == EVIDENCE
    assert Path(sample_run.__file__).stat().st_size < 20_000


def test_no_dropped_column_is_not_the_same_as_none_recorded():
    assert "No column was dropped." in text_of(page_of(RESULT, EVIDENCE | {"dropped": []}))
    assert "No column was dropped." not in text_of(page_of(RESULT, EVIDENCE | {"dropped": None}))


def test_the_evidence_that_the_judges_write_is_the_evidence_that_the_page_reads():
    scores, bad = sample_run.simulated()
    made = score_evidence(
        bad,
        scores["incumbent"],
        scores["lean"],
        train_scores=scores["lean"] ** 1.05,
        features=EVIDENCE["psi"]["features"],
    )
    assert set(made) <= set(EVIDENCE)
    page = page_of(RESULT, EVIDENCE | json.loads(json.dumps(made)))
    assert page.count('class="chart"') == 16
    assert f"KS {made['ks']['lean']['value']:.4f}" in page


def test_protected_groups_are_shown_with_their_impact_ratio_and_said_to_be_absent_without_any():
    shown = text_of(page_of(RESULT, EVIDENCE))
    assert "owner_gender f 4,040" in shown
    assert "0.99" in shown
    bare = text_of(page_of(RESULT, {**EVIDENCE, "fairness": []}))
    assert "the schema marks no column as protected" in bare


@pytest.mark.parametrize(
    ("kind", "preset", "says"),
    [
        ("risk-transformer", "tiny", "The lean model is a network of preset tiny."),
        ("trees", "trees", "The lean model is slim trees."),
        ("scorecard", "scorecard", "The lean model is a scorecard."),
    ],
)
def test_the_page_names_the_students_kind(kind, preset, says):
    plain = sample_run.result()
    plain["lean"] |= {"kind": kind, "preset": preset}
    page = page_of(plain, {})
    assert says in text_of(page)
    told = says.removeprefix("The lean model is ").removesuffix(".")
    assert f"<dt>Lean model</dt><dd>{told}</dd>" in re.sub(r">\s+<", "><", page)


def test_an_incumbent_that_stays_is_named_as_no_student():
    plain = sample_run.result()
    plain["lean"] |= {"kind": plain["incumbent"]["kind"], "preset": None}
    page = page_of(plain, {})
    assert "The lean model is" not in page


def test_every_step_that_teaches_shows_how_its_student_follows_the_incumbent():
    table = by_step(Facts(sample_run.result(), where="result.json"), Words.of("en"))
    assert table is not None
    shown = [[(entry.text, entry.sub) for entry in row] for row in table.rows]
    assert shown == [
        [("distill", "A network"), ("kept", ""), ("0.927", ""), ("94.9%", ""), ("96", "7.3% bad"), ("92", "12.0% bad")],
        [
            ("quantize", "A network"),
            ("dropped", ""),
            ("0.884", ""),
            ("93.1%", ""),
            ("131", "9.2% bad"),
            ("122", "10.7% bad"),
        ],
    ]


def test_without_any_student_there_is_no_table_and_no_heading():
    plain = sample_run.result()
    plain["steps"] = plain["steps"][:1]
    assert by_step(Facts(plain, where="result.json"), Words.of("en")) is None
    page = page_of(plain, {})
    assert "The student of each step" not in page
