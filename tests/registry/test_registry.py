"""The registry moves what may move, says so in the journal, and knows what was live at any past moment."""

import datetime as dt
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import BundleError, ConfigError, RecordsError, RegistryError
from leanrisk.registry.account import Account
from leanrisk.registry.audit import ANCHOR, audit
from leanrisk.registry.mlflow_client import client, quiet_mlflow
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.promotion import predecessor
from leanrisk.registry.registry import Registry
from leanrisk.registry.retention import prunable, prune
from tests.records.test_journal import START, Clock, unguarded
from tests.registry.gated import copies, gated

DAY = 86_400
ANA, BEN = Account("ana", "system"), Account("ben", "key")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return copies(tmp_path_factory.mktemp("bundles"), 4)


def opened(folder, *, clock=None, **rules):
    config = RegistryConfig(database=f"sqlite:///{folder}/registry.db", snapshots=str(folder), **rules)
    return Registry.open(config, clock=clock)


@pytest.fixture
def registry(tmp_path):
    made = opened(tmp_path / "registry", mlflow=False, clock=Clock())
    yield made
    made.close()


@pytest.fixture
def filled(registry, bundles):
    for bundle in bundles:
        registry.register(bundle, who="ana")
    return registry


def test_a_bundle_is_registered_once_and_keeps_its_number(registry, bundles):
    first = registry.register(bundles[0], who="ana", why="May")
    assert (first.number, first.who, first.why, first.aliases) == (1, "ana", "May", ())
    assert registry.register(bundles[1], who="ben").number == 2
    assert registry.register(bundles[0], who="ben") == first
    assert [row.action for row in registry.history()] == ["register", "register"]
    assert registry.history()[0].evidence == first.evidence


def test_versions_are_found_by_alias_number_and_first_digits(filled):
    second = filled.versions()[1]
    filled.promote("2", who="ana", why="better")
    for name in ("2", "v2", "champion", second.snapshot, second.snapshot[:8]):
        assert filled.find(name).snapshot == second.snapshot
    for name in ("9", "challenger", "abcdef12", "", "a", second.snapshot[:3]):
        with pytest.raises(RegistryError, match="named by an alias"):
            filled.find(name)


def test_a_promotion_moves_the_alias_and_a_rollback_moves_it_back(filled):
    clock = filled.journal._clock
    one, two, three, _ = (version.snapshot for version in filled.versions())
    for number in ("1", "2", "3"):
        clock.later(60)
        version, row = filled.promote(number, who="ana", why="better")
        assert (row.action, row.after, version.aliases) == ("promote", version.snapshot, ("champion",))
    clock.later(60)
    version, row = filled.rollback(who="ben", why="complaints")
    assert (row.action, row.before, row.after, version.number) == ("rollback", three, two, 2)
    clock.later(60)
    assert filled.rollback(who="ben", why="worse still")[0].number == 1
    with pytest.raises(RegistryError, match="never pointed at anything else"):
        filled.rollback(who="ben", why="again")
    seen = [filled.as_of(START + dt.timedelta(seconds=60 * minute)).get("champion") for minute in range(6)]
    assert seen == [None, one, two, three, two, one]
    assert filled.as_of(START + dt.timedelta(seconds=119))["champion"] == one
    assert len(filled.history("champion", newest=2)) == 2


def test_going_back_after_a_new_promotion_goes_to_what_was_there_before_it(filled):
    for number in ("1", "2"):
        filled.promote(number, who="ana", why="x")
    filled.rollback(who="ana", why="x")
    filled.promote("3", who="ana", why="x")
    assert filled.rollback(who="ana", why="x")[0].number == 1


def test_a_rollback_may_name_any_earlier_target(filled):
    for number in ("1", "2", "3"):
        filled.promote(number, who="ana", why="x")
    assert filled.rollback(who="ana", why="x", to="1")[0].number == 1
    assert predecessor(filled.history("champion")) is None
    for never, said in (("4", "never was there"), ("1", "points there now")):
        with pytest.raises(RegistryError, match=said):
            filled.rollback(who="ana", why="x", to=never)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, bundles):
    """A registry that lives on from example to example, and what it must know: a list of moves, and a pile."""
    registry = opened(tmp_path_factory.mktemp("lived"), mlflow=False, clock=Clock())
    for bundle in bundles:
        registry.register(bundle, who="ana")
    yield registry, [], []
    registry.close()


@settings(max_examples=25)
@given(moves=st.lists(st.tuples(st.sampled_from(["1", "2", "3", "4", "back"]), st.integers(0, 2)), max_size=5))
def test_any_sequence_of_promotions_and_rollbacks_is_known_for_every_moment(lived, moves):
    registry, known, pile = lived
    for what, wait in moves:
        moment = registry.journal._clock.later(wait)
        if what == "back" and len(pile) > 1:
            pile.pop()
            registry.rollback(who="ana", why="x")
        elif what != "back" and pile[-1:] != [what]:
            pile.append(what)
            registry.promote(what, who="ana", why="x")
        else:
            with pytest.raises(RegistryError):
                registry.rollback(who="ana", why="x") if what == "back" else registry.promote(what, who="a", why="x")
        known.append((moment, pile[-1] if pile else None))
    numbers = {version.snapshot: str(version.number) for version in registry.versions()}
    for moment in {when + dt.timedelta(seconds=shift) for when, _ in known[-12:] for shift in (-1, -1e-6, 0, 0.5)}:
        expected = ([None] + [number for when, number in known if when <= moment])[-1]
        assert numbers.get(registry.as_of(moment).get("champion", "")) == expected
    assert registry.journal.verify() == registry.journal.head[0]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"verdict": ""}, "no run judged it"),
        ({"verdict": "failed"}, "gate 'final: ks' is failed"),
        ({"refresh": False}, "did not accept it"),
        ({"refresh": True, "verdict": "failed"}, "gate 'auc' is failed"),
    ],
)
def test_a_champion_has_passed_its_gates_or_is_forced_with_a_reason(registry, tmp_path, told, why):
    registry.register(gated(tmp_path / "new", **told), who="ana")
    with pytest.raises(RegistryError, match=why):
        registry.promote("1", who="ana", why="I like it")
    with pytest.raises(ConfigError, match="reason"):
        registry.promote("1", who="ana", why=" ", force=True)
    assert registry.journal.aliases() == {}
    assert registry.promote("1", who="ana", why="compare", alias="challenger")[1].action == "promote"
    row = registry.promote("1", who="ana", why="the old one is down", force=True)[1]
    assert (row.action, row.why) == ("force", "the old one is down")


@pytest.mark.parametrize(
    "told", [{"verdict": "not_proven"}, {"refresh": True}, {"refresh": True, "verdict": "not_proven"}]
)
def test_what_a_run_let_through_may_be_promoted_and_proof_may_be_asked_for(tmp_path, told):
    bundle = gated(tmp_path / "new", **told)
    for proven in (False, True):
        registry = opened(tmp_path / f"registry{proven}", mlflow=False, proven=proven)
        registry.register(bundle, who="ana")
        if proven and told.get("verdict") == "not_proven":
            with pytest.raises(RegistryError, match="not proven"):
                registry.promote("1", who="ana", why="x")
        else:
            # What needs no force is not journalled as forced.
            assert registry.promote("1", who="ana", why="x", force=True)[1].action == "promote"
        registry.close()


def test_four_eyes_wait_for_a_second_name(tmp_path, bundles):
    registry = opened(tmp_path / "registry", mlflow=False, four_eyes=True)
    for bundle in bundles[:2]:
        registry.register(bundle, who="ana")
    with pytest.raises(RegistryError, match="no promotion waits"):
        registry.approve(who="ben")
    with pytest.raises(RegistryError, match="'ana' was only said"):
        registry.promote("1", who="ana", why="better")
    _, asked = registry.promote("1", who=Account("Ana  Li", "system"), why="better")
    assert asked.action == "request"
    assert registry.journal.aliases() == {}
    for same in (Account("Ana  Li", "system"), Account("ana li", "key"), Account(" ANA LI ", "key")):
        with pytest.raises(RegistryError, match="cannot approve"):
            registry.approve(who=same)
    with pytest.raises(RegistryError, match="'ben' was only said"):
        registry.approve(who="ben")
    with pytest.raises(RegistryError, match="row 3 waits, not row 2"):
        registry.approve(who=BEN, request=2)
    version, row = registry.approve(who=BEN, why="seen", request=3)
    assert (row.action, row.who, version.aliases) == ("promote", "key:ben", ("champion",))
    assert "system:Ana  Li in row 3: better; seen" in row.why
    assert registry.pending() is None
    with pytest.raises(RegistryError, match="no promotion waits"):
        registry.approve(who=BEN)
    registry.promote("2", who=ANA, why="x")
    assert registry.promote("2", who="ana", why="for comparison", alias="control")[1].action == "promote"
    registry.close()


def test_an_approval_comes_too_late_where_the_alias_moved(tmp_path, bundles):
    registry = opened(tmp_path / "registry", mlflow=False, four_eyes=True)
    for bundle in bundles[:3]:
        registry.register(bundle, who="ana")
    for number in ("1", "2"):
        registry.promote(number, who=ANA, why="x")
        registry.approve(who=BEN)
    registry.promote("3", who=ANA, why="x")
    registry.rollback(who="eve", why="urgent")
    assert registry.pending() is None
    assert registry.journal.current("champion") == registry.find("1").snapshot
    registry.close()


def test_a_forced_request_is_forced_when_it_is_approved(tmp_path):
    registry = opened(tmp_path / "registry", mlflow=False, four_eyes=True)
    registry.register(gated(tmp_path / "new", verdict="failed"), who="ana")
    assert registry.promote("1", who=ANA, why="urgent", force=True)[1].action == "request-force"
    assert registry.approve(who=BEN)[1].action == "force"
    registry.close()


def test_an_altered_snapshot_is_neither_promoted_nor_rolled_back_to(filled):
    filled.promote("1", who="ana", why="x")
    filled.promote("2", who="ana", why="x")
    for number in ("1", "3"):
        file = filled.store.folder(filled.find(number).snapshot) / "model.onnx"
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    before = filled.history()
    with pytest.raises(BundleError, match="altered"):
        filled.promote("3", who="ana", why="x")
    with pytest.raises(BundleError, match="altered"):
        filled.rollback(who="ana", why="x")
    assert filled.history() == before


def test_an_unknown_alias_is_refused(filled):
    with pytest.raises(ConfigError, match="champion, challenger, control"):
        filled.promote("1", who="ana", why="x", alias="best")


def test_an_audit_finds_every_kind_of_damage(filled):
    filled.promote("1", who="ana", why="x")
    clean = audit(filled)
    assert (clean.faults, clean.rows, clean.snapshots) == ((), 5, 4)
    assert clean.files == 4 * 9
    head = clean.head
    file = filled.store.folder(filled.find("2").snapshot) / "encoder.json"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b" ")
    shutil.rmtree(filled.store.folder(filled.find("1").snapshot))
    found = audit(filled, head=head)
    assert any("version 2" in fault and "'encoder.json' was altered" in fault for fault in found.faults)
    assert any(fault.startswith("version 1: A snapshot must be in the store") for fault in found.faults)
    assert any("journal" in fault for fault in audit(filled, head=(3, "f" * 64)).faults)


def test_an_audit_remembers_the_newest_row_beside_the_snapshots(filled):
    filled.promote("1", who="ana", why="x")
    assert audit(filled).faults == ()
    unguarded(filled.journal, "DELETE FROM leanrisk_journal WHERE seq = 5")
    assert any("cut off: row 5" in fault for fault in audit(filled).faults)
    (filled.store._local.parent / ANCHOR).write_text("{")
    assert any("not the row whose hash was kept" in fault for fault in audit(filled).faults)


def test_a_stray_snapshot_is_told_and_no_fault(filled, tmp_path):
    stray = filled.store.add(gated(tmp_path / "stray", 77))
    found = audit(filled)
    assert (found.faults, found.strays) == ((), (stray,))


def test_prune_keeps_what_is_or_was_live_of_late_and_what_is_young(tmp_path, bundles):
    clock = Clock()
    registry = opened(tmp_path / "registry", mlflow=False, clock=clock, retention_days=30, candidate_days=10)
    for bundle in bundles[:3]:
        registry.register(bundle, who="ana")
    registry.promote("1", who="ana", why="x", alias="control")
    registry.promote("2", who="ana", why="x")
    clock.later(20 * DAY)
    registry.promote("1", who="ana", why="x")
    registry.register(bundles[3], who="ana")

    def removable(days):
        return [version.number for version in prunable(registry, now=START + dt.timedelta(days=days))]

    assert removable(5) == []
    assert removable(21) == [3]
    assert removable(49) == [3, 4]
    assert removable(51) == [2, 3, 4]
    now = START + dt.timedelta(days=51)
    dry = prune(registry, who="ana", now=now)
    assert ([version.number for version in dry.versions], dry.done) == ([2, 3, 4], False)
    assert dry.bytes > 0
    assert len(registry.store.ids) == 4
    done = prune(registry, who="ana", why="old", apply=True, now=now)
    assert (done.versions, done.bytes, done.done) == (dry.versions, dry.bytes, True)
    assert [version.number for version in registry.versions()] == [1]
    assert registry.store.ids == (registry.find("1").snapshot,)
    assert [row.action for row in registry.history()[-3:]] == ["prune"] * 3
    assert audit(registry).faults == ()
    assert registry.register(bundles[2], who="ana").snapshot in registry.store
    registry.close()


def test_a_removal_that_was_cut_short_is_finished_by_the_next(tmp_path, bundles, monkeypatch):
    clock = Clock()
    registry = opened(tmp_path / "registry", mlflow=False, clock=clock, candidate_days=0)
    for bundle in bundles[:2]:
        registry.register(bundle, who="ana")
    later = clock.later(DAY)

    def killed(snapshot):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry.store, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(registry, who="ana", apply=True, now=later)
    assert len(registry.store.ids) == 2
    assert registry.versions() == ()
    prune(registry, who="ana", apply=True, now=later)
    assert registry.store.ids == ()
    registry.close()


def test_what_was_pruned_meanwhile_is_not_pointed_at(filled, monkeypatch):
    version = filled.find("3")
    filled.journal.append(who="ben", action="prune", before=version.snapshot)
    monkeypatch.setattr(filled, "find", lambda name: version)
    with pytest.raises(RegistryError, match="pruned meanwhile"):
        filled.promote("3", who="ana", why="x")
    assert filled.journal.aliases() == {}


def test_what_moves_a_pointer_loads_no_scorer_and_nothing_loads_mlflow(filled):
    code = f"""
import sys
import leanrisk.registry.registry
assert not {{'numpy', 'polars', 'onnxruntime', 'pyarrow', 'mlflow'}} & set(sys.modules)
import leanrisk.registry.audit, leanrisk.registry.backup, leanrisk.registry.retention
import leanrisk.registry.pyfunc, leanrisk.serve.scoring
from leanrisk.registry.snapshots import Snapshots
Snapshots({filled.store.place!r}).load({filled.find("1").snapshot!r}).check_reference()
assert not {{'mlflow', 'torch', 'pandas', 'fsspec', 'lightgbm'}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def mlflow_template(tmp_path_factory, bundles):
    """A registry with MLflow's tables and three versions, made once: its tables alone take seconds."""
    folder = tmp_path_factory.mktemp("mlflow") / "registry"
    registry = opened(folder)
    for bundle in bundles[:3]:
        registry.register(bundle, who="ana")
    registry.close()
    return folder


@pytest.fixture
def with_mlflow(mlflow_template):
    """The registry with MLflow's tables, as the tests before left it: each looks only at what it does itself."""
    registry = opened(mlflow_template)
    yield registry
    registry.close()


def aliases_in_mlflow(registry):
    with quiet_mlflow():
        return {
            name: int(number)
            for name, number in client(registry.engine).get_registered_model("leanrisk").aliases.items()
        }


def test_mlflow_sees_versions_and_aliases_as_they_are(with_mlflow):
    registry = with_mlflow
    with quiet_mlflow():
        versions = client(registry.engine).search_model_versions("name='leanrisk'")
    assert {int(found.version) for found in versions} == {1, 2, 3}
    for found in versions:
        assert found.tags["leanrisk.snapshot"] == registry.find(str(found.version)).snapshot
        assert found.source == registry.models.source(found.tags["leanrisk.snapshot"])
    registry.promote("1", who="ana", why="x")
    registry.promote("2", who="ana", why="x")
    registry.promote("1", who="ana", why="x", alias="control")
    assert aliases_in_mlflow(registry) == {"champion": 2, "control": 1}
    registry.rollback(who="ana", why="x")
    assert aliases_in_mlflow(registry) == {"champion": 1, "control": 1}
    assert registry.notice() == []


def test_an_alias_moved_from_outside_is_journalled_once_as_such(with_mlflow):
    registry = with_mlflow
    if registry.journal.current("champion") != registry.find("1").snapshot:
        registry.promote("1", who="ana", why="x")
    before = registry.journal.head[0]
    with quiet_mlflow():
        client(registry.engine).set_registered_model_alias("leanrisk", "champion", "3")
    rows = registry.notice()
    assert [(row.action, row.who, row.before, row.after) for row in rows] == [
        ("outside", "leanrisk", registry.find("1").snapshot, registry.find("3").snapshot)
    ]
    assert registry.notice() == []
    assert registry.journal.head[0] == before + 1
    assert audit(registry).outside == ()
    assert registry.rollback(who="ana", why="not ours")[0].number == 1
    with quiet_mlflow():
        client(registry.engine).delete_registered_model_alias("leanrisk", "champion")
    found = audit(registry)
    assert [(row.before, row.after) for row in found.outside] == [(registry.find("1").snapshot, None)]
    registry.promote("1", who="ana", why="back")


def test_an_alias_moved_to_what_is_no_snapshot_is_a_fault_that_a_rollback_mends(with_mlflow):
    registry = with_mlflow
    if registry.journal.current("champion") != registry.find("2").snapshot:
        registry.promote("2", who="ana", why="x")
    with quiet_mlflow():
        mlflow = client(registry.engine)
        number = mlflow.create_model_version("leanrisk", "/elsewhere").version
        mlflow.set_registered_model_alias("leanrisk", "champion", number)
    found = audit(registry)
    assert [row.after for row in found.outside] == [f"mlflow:{number}"]
    assert any("no registered version" in fault for fault in found.faults)
    assert registry.rollback(who="ana", why="not ours")[0].number == 2
    assert aliases_in_mlflow(registry)["champion"] == 2
    assert audit(registry).faults == ()


def test_a_source_that_was_changed_in_mlflow_is_a_fault(with_mlflow):
    statement = "UPDATE model_versions SET source = {} WHERE version = 3"
    source = with_mlflow.models.source(with_mlflow.find("3").snapshot)
    for place, wanted in (("'/elsewhere'", True), (f"'{source}'", False)):
        with with_mlflow.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(statement.format(place))
        assert any("MLflow would load" in fault for fault in audit(with_mlflow).faults) is wanted


def test_a_failed_pointer_leaves_no_row(with_mlflow):
    before = with_mlflow.journal.head
    full = "CREATE TRIGGER full BEFORE INSERT ON registered_model_aliases BEGIN SELECT RAISE(ABORT, 'full'); END"
    for statement in (full, "DROP TRIGGER full"):
        with with_mlflow.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(statement)
        if statement == full:
            with pytest.raises(RecordsError, match="full"):
                with_mlflow.promote("3", who="ana", why="x", alias="challenger")
    assert with_mlflow.journal.head == before


def test_a_pruned_version_is_deleted_in_mlflow_and_comes_back_under_a_new_number(with_mlflow, bundles):
    registry = with_mlflow
    for number in ("1", "2", "3"):
        if registry.journal.current("challenger") != registry.find(number).snapshot:
            registry.promote(number, who="ana", why="live once", alias="challenger")
    fourth = registry.register(bundles[3], who="ana")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=100)
    assert prune(registry, who="ana", apply=True, now=later).versions == (fourth,)
    assert audit(registry).faults == ()
    assert not (registry.models._local / fourth.snapshot).exists()
    with quiet_mlflow():
        numbers = {int(found.version) for found in client(registry.engine).search_model_versions("name='leanrisk'")}
    assert fourth.number not in numbers
    again = registry.register(bundles[3], who="ana")
    assert again.number > fourth.number
    assert registry.promote(str(again.number), who="ana", why="back", alias="control")[0].snapshot == fourth.snapshot
    assert aliases_in_mlflow(registry)["control"] == again.number
    assert audit(registry).faults == ()
