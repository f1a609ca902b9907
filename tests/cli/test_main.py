"""The command as a user meets it: help, unknown words, switches, and how each kind of failure ends."""

import errno
import json
import signal
import subprocess
import sys

import pytest
from typer.core import TyperGroup

from leanrisk.cli.errors import guarded
from leanrisk.cli.main import COMMANDS, loaded, main
from leanrisk.core.errors import ConfigError, DataError, Fault
from leanrisk.core.version import __version__


def leaves(name):
    return list(runnable(loaded(name)))


def runnable(command):
    if not isinstance(command, TyperGroup) or command.invoke_without_command:
        yield command
    for child in getattr(command, "commands", {}).values():
        yield from runnable(child)


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


def test_a_group_of_one_command_keeps_its_word(capsys):
    assert main(["simulate", "sme", "--help"]) == 0
    assert "Usage: leanrisk simulate sme" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"leanrisk {__version__}\n"


def test_no_command_shows_help():
    assert main([]) == 2


def test_a_slip_is_answered_with_the_right_name(capsys):
    assert main(["insepct"]) == 2
    assert "'inspect'" in capsys.readouterr().err


def test_an_unknown_option_is_json_when_json_is_asked_for(capsys):
    assert main(["bench", "--no-such-option", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["exit_code"] == 2
    assert "--no-such-option" in told["message"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_debug_and_says_what_it_does(name, capsys):
    for leaf in leaves(name):
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert {"--json", "--debug"} <= options
        assert leaf.help
    assert main([name, "--help"]) == 0
    assert "Usage: leanrisk " + name in capsys.readouterr().out


def ending(error, *, as_json=False, debug=False):
    def command():
        raise error

    return guarded(command, as_json=as_json, debug=debug)


FAULTS = (
    Fault("target-missing", "the target has 3 nulls.", "Drop those rows.", "bad"),
    Fault("no-rows", "the table has no rows.", "Check the file."),
)


def test_a_user_error_is_one_message_without_traceback(capsys):
    assert ending(ConfigError("The rule. Way out.")) == 2
    told = capsys.readouterr()
    assert told.err == "Error: The rule. Way out.\n"
    assert told.out == ""


def test_every_fault_of_a_table_is_told_at_once(capsys):
    assert ending(DataError(FAULTS)) == 2
    told = capsys.readouterr().err
    assert "in 2 ways" in told
    assert "[target-missing] column 'bad'" in told
    assert "[no-rows]" in told


def test_faults_as_json(capsys):
    assert ending(DataError(FAULTS), as_json=True) == 2
    told = capsys.readouterr()
    assert told.err == ""
    assert json.loads(told.out)["error"]["faults"][0] == {
        "code": "target-missing",
        "column": "bad",
        "message": "the target has 3 nulls.",
        "way_out": "Drop those rows.",
    }


def test_debug_adds_the_traceback(capsys):
    assert ending(ConfigError("The rule."), debug=True) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_defect_is_called_one(capsys):
    assert ending(ValueError("odd")) == 1
    told = capsys.readouterr().err
    assert "ValueError: odd. This is a defect" in told
    assert "--debug" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "scores.parquet"), "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/locked"), "mend its permissions"),
        (MemoryError(), "more memory"),
        (
            ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
            "pip install -c constraints.txt '.[train]'",
        ),
    ],
    ids=["disk-full", "permission", "memory", "extra-missing"],
)
def test_the_machine_refusing_is_the_users_to_mend(error, way_out, capsys):
    assert ending(error) == 2
    assert way_out in capsys.readouterr().err


@pytest.mark.parametrize("name", ["accelerate", "peft", "scipy", "peft.tuners.lora"])
def test_a_missing_training_library_is_told_with_its_extra(name, capsys):
    assert ending(ModuleNotFoundError(f"No module named '{name}'", name=name)) == 2
    told = capsys.readouterr().err
    assert f"needs the package '{name}'" in told
    assert "pip install -c constraints.txt '.[train]'" in told


def test_a_missing_module_that_no_extra_brings_is_a_defect():
    assert ending(ModuleNotFoundError("No module named 'leanrisk.gone'", name="leanrisk.gone")) == 1


def test_ctrl_c_ends_quietly(capsys):
    assert ending(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_reader_that_leaves_early_is_no_error():
    code = (
        "import sys\nfrom leanrisk.cli.errors import guarded\n"
        "sys.exit(guarded(lambda: print('row\\n' * 1_000_000), as_json=False, debug=False))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_and_leaves_nothing_half_written(tmp_path, number, code):
    # A command that is told to stop in the middle of writing: the signal comes from the process itself, so that the
    # test needs neither a pause nor a race.
    script = tmp_path / "stopped.py"
    script.write_text(
        "import os, sys, types\n"
        "import leanrisk.cli.main as cli\n"
        "from leanrisk.core.files import replacing\n"
        "def bench(*, as_json: bool = False) -> None:\n"
        "    with replacing('result.json') as part:\n"
        "        part.write_text('half')\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        part.write_text('whole')\n"
        "stand_in = sys.modules['stand_in'] = types.ModuleType('stand_in')\n"
        "stand_in.bench = bench\n"
        "cli.COMMANDS['bench'] = cli.Entry('stand_in:bench', 'Stop.', 'Test')\n"
        "sys.argv = ['leanrisk', 'bench']\n"
        "sys.exit(cli.main())\n"
    )
    (tmp_path / "result.json").write_text("old")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr in ("Interrupted.\n", "Terminated.\n")
    assert (tmp_path / "result.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "stopped.py"]
