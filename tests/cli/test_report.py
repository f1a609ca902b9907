"""`leanrisk report` as a user meets it."""

import json

from leanrisk.cli.main import main
from tests.report.sample_run import write_run


def test_it_writes_the_page_beside_the_result_and_says_where(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Report: {run / 'report.html'}\n"
    assert 'lang="en"' in (run / "report.html").read_text(encoding="utf-8")


def test_language_place_and_json(tmp_path, capsys):
    run, out = write_run(tmp_path / "run"), tmp_path / "bericht.html"
    assert main(["report", str(run), "-o", str(out), "--lang", "zh", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"report": str(out), "language": "zh", "bytes": out.stat().st_size}
    assert 'lang="zh-CN"' in out.read_text(encoding="utf-8")


def test_a_folder_without_a_run_is_the_users_to_mend(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "result.json" in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_language_is_refused(tmp_path):
    assert main(["report", str(write_run(tmp_path)), "--lang", "fr"]) == 2
    assert not (tmp_path / "report.html").exists()
