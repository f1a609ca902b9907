"""Progress and tables, drawn on consoles of which the test reads every character."""

import io
import json

import pytest
from rich.console import Console

from leanrisk.cli.console import RichProgress, many, print_json, resumable, stdout, table
from leanrisk.cli.errors import Terminated


def console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=80, highlight=False)


def drawn(target):
    return target.file.getvalue()


def test_where_nobody_watches_progress_is_plain_lines():
    target = console(terminal=False)
    with RichProgress(target).track("Reading", total=2) as advance:
        advance(1)
        advance(1)
    first, last = drawn(target).splitlines()
    assert first == "Reading ..."
    assert last.startswith("Reading: ")
    assert "\x1b" not in drawn(target)


def test_on_a_terminal_progress_is_bars_even_when_jobs_nest():
    target = console(terminal=True)
    progress = RichProgress(target)
    with progress.track("Outer", total=2) as outer:
        outer(1)
        with progress.track("Inner") as inner:
            inner(5)
        progress.say("kept")
        outer(1)
    with progress.track("Again", total=1) as again:
        again(1)
    shown = drawn(target)
    assert all(word in shown for word in ("Outer", "Inner", "kept", "Again"))


@pytest.mark.parametrize("terminal", [False, True])
def test_a_failure_passes_through_and_frees_the_terminal(terminal):
    target = console(terminal=terminal)
    progress = RichProgress(target)
    with pytest.raises(ValueError, match="inside"), progress.track("Job", total=1):
        raise ValueError("inside")
    with progress.track("Next", total=1) as advance:
        advance(1)
    assert "Next" in drawn(target)


def test_markup_in_names_and_messages_is_not_interpreted():
    target = console(terminal=False)
    progress = RichProgress(target)
    progress.say("[red]code[/red]")
    with progress.track("[bold]name[/bold]"):
        pass
    assert "[red]code[/red]" in drawn(target)
    assert "[bold]name[/bold] ..." in drawn(target)


def test_a_table_shows_gaps_as_dashes_and_keeps_brackets():
    target = console(terminal=False)
    target.print(table("Costs [CNY]", ("what", "value"), [("training [a]", 1.5), ("labels", None)]))
    shown = drawn(target)
    assert "Costs [CNY]" in shown
    assert "training [a]" in shown
    assert "1.5" in shown
    assert "-" in shown.splitlines()[-2]


def test_a_piped_table_is_not_cut(capsys):
    stdout().print(table("", ("what", "value"), [("x" * 80, "y" * 20)]))
    assert "x" * 80 in capsys.readouterr().out


def test_json_is_all_that_is_printed_and_nan_is_refused(capsys):
    print_json({"银行": [1.5, None]})
    assert json.loads(capsys.readouterr().out) == {"银行": [1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"value": float("nan")})


def test_one_is_no_plural():
    assert [many(number, "row") for number in (0, 1, 2, 1_200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_a_job_that_is_cut_says_how_to_go_on(tmp_path, capsys, signal):
    def cut() -> None:
        with resumable(tmp_path, "--resume"):
            raise signal

    with pytest.raises(signal):
        cut()
    assert capsys.readouterr().err == ""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "state.json").write_text("{}")
    with pytest.raises(signal):
        cut()
    assert "repeat the command with --resume." in capsys.readouterr().err
