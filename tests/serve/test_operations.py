"""What docs/operations.md shows is so: its settings load, its unit is well formed, its drill brings answers back."""

from __future__ import annotations

import asyncio
import configparser
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

from leanrisk.cli.main import main
from leanrisk.records.database import database
from leanrisk.serve.settings import ServeConfig
from tests.registry.bundles import bundle_copy
from tests.serve.test_durable_log import decision, opened

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_settings_that_the_page_shows_are_the_service_s(tmp_path):
    [shown] = blocks("toml")
    file = tmp_path / "serve.toml"
    file.write_text(shown)
    config = ServeConfig.read(file, {})
    assert config.spool_bytes == ServeConfig(registry="r").spool_bytes
    assert set(tomllib.loads(shown)) <= set(ServeConfig.__dataclass_fields__)


def test_the_unit_restarts_and_may_write_to_its_state_alone():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy/leanrisk.service")
    told = unit["Service"]
    assert told["Restart"] == "always"
    assert (told["ProtectSystem"], told["StateDirectory"], told["User"]) == ("strict", "leanrisk", "leanrisk")
    assert told["CapabilityBoundingSet"] == ""
    config = ServeConfig(registry="r")
    assert float(told["TimeoutStopSec"]) > config.notice_s + config.drain_s


def test_the_unit_s_ban_on_new_code_lets_a_record_be_scored(tmp_path):
    # MemoryDenyWriteExecute as the kernel knows it since 6.3; threads, libraries and Polars' check of the processor.
    [settings] = re.findall(r"^Environment=(.*)$", (ROOT / "deploy/leanrisk.service").read_text(), re.MULTILINE)
    code = (
        "import ctypes, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):\n"
        "    sys.exit(77)\n"
        "from leanrisk.serve.app import Application\n"
        "from leanrisk.serve.scoring import Scorer\n"
        "print(Scorer.open(sys.argv[1]).one({'income': 1.0}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle_copy(tmp_path))],
        env={"PYTHONPATH": str(ROOT / "src"), **dict(each.split("=") for each in settings.split())},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this kernel knows no such ban")
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1


def test_a_backup_taken_under_writes_answers_as_the_log_did(tmp_path):
    # sqlite3's .backup is this call.
    async def work():
        log, _ = opened(tmp_path / "decisions.db", tmp_path)
        before = await log.record([decision(f"d{place}", place / 100) for place in range(50)])
        with (
            closing(sqlite3.connect(tmp_path / "decisions.db")) as one,
            closing(sqlite3.connect(tmp_path / "b.db")) as two,
        ):
            writing = asyncio.gather(*(log.record([decision(f"later{place}")]) for place in range(50)))
            one.backup(two)
            await writing
        await log.close()
        (tmp_path / "drill").mkdir()
        again, _ = opened(tmp_path / "b.db", tmp_path / "drill")
        after = await again.record([decision(each.id, 0.99) for each in before])
        await again.close()
        assert [each.probability for each in after] == [each.probability for each in before]

    asyncio.run(work())


def test_the_query_of_the_page_runs(tmp_path):
    async def work():
        log, _ = opened(tmp_path / "decisions.db", tmp_path)
        await log.record([decision("a")])
        await log.shadow([decision("a", 0.5, alias="challenger")])
        await log.close()

    asyncio.run(work())
    [query] = blocks("sql")
    engine = database(tmp_path / "decisions.db")
    with engine.connect() as connection:
        found = connection.exec_driver_sql(re.sub(r"d.moment >= \d+ AND d.moment < \d+", "d.moment < 2", query)).all()
    engine.dispose()
    assert found == [("a", 0.25, 0.5)]


def test_a_mistyped_registry_is_refused_and_nothing_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--registry", "regsitry"]) == 2
    assert "leanrisk registry register" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
