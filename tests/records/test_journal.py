"""The journal answers for every past moment, and no change of a row goes unnoticed, whatever the database."""

import datetime as dt
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, RecordsError
from leanrisk.records.database import database, reading, writing
from leanrisk.records.journal import TABLE, Action, Journal, Row, told

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


class Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def later(self, seconds: float) -> dt.datetime:
        self.now += dt.timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def journal(new_url):
    engine = database(new_url())
    yield Journal(engine, clock=Clock())
    engine.dispose()


def moved(journal: Journal, alias: str, after: str | None, action: Action = Action.PROMOTE) -> Row:
    before = journal.current(alias)
    return journal.append(who="ana", action=action, alias=alias, before=before, after=after, why="better")


def test_an_empty_journal_knows_nothing_and_is_whole(journal):
    assert (journal.current("champion"), journal.aliases(), journal.rows(), journal.verify()) == (None, {}, [], 0)
    assert journal.as_of("champion", START) is None
    assert journal.head == (0, "0" * 64)


def test_rows_come_back_as_they_were_appended(journal):
    written = [
        journal.append(who="ana", action=Action.REGISTER, after=A, evidence="e" * 64),
        moved(journal, "champion", A),
        journal.append(who="李雷", action=Action.REQUEST, alias="champion", before=A, after=B, why="Prüfung ✓"),
        moved(journal, "champion", B),
        moved(journal, "challenger", A),
    ]
    assert journal.rows() == written
    assert [row.seq for row in written] == [1, 2, 3, 4, 5]
    assert journal.rows(alias="champion", actions=[Action.PROMOTE]) == [written[1], written[3]]
    assert journal.rows(after=3) == written[3:]
    assert journal.rows(newest=2) == written[3:]
    assert journal.aliases() == {"champion": B, "challenger": A}
    assert journal.head == (5, written[-1].digest)
    assert journal.verify() == 5


def test_a_request_moves_nothing(journal):
    moved(journal, "champion", A)
    journal.append(who="ana", action=Action.REQUEST, alias="champion", before=A, after=B)
    assert journal.current("champion") == A


def test_a_move_from_elsewhere_than_where_the_alias_is_is_refused(journal):
    moved(journal, "champion", A)
    with pytest.raises(RecordsError, match="another one was faster"):
        journal.append(who="ben", action=Action.PROMOTE, alias="champion", before=B, after=C)
    assert len(journal.rows()) == 1


def test_a_clock_set_back_does_not_turn_the_order_round(journal):
    first = moved(journal, "champion", A)
    journal._clock.later(-3600)
    second = moved(journal, "champion", B)
    assert second.moment == first.moment
    assert journal.as_of("champion", START) == B
    assert journal.verify() == 2


def test_a_moment_without_a_zone_is_refused(journal):
    with pytest.raises(ConfigError, match="time zone"):
        journal.as_of("champion", dt.datetime(2026, 1, 1))


def test_any_zone_names_the_same_moment(journal):
    moved(journal, "champion", A)
    china = dt.timezone(dt.timedelta(hours=8))
    assert journal.as_of("champion", START.astimezone(china)) == A
    assert journal.as_of("champion", (START - dt.timedelta(microseconds=1)).astimezone(china)) is None


@pytest.mark.parametrize("who", ["", "  ", "a\0b", "\ud800"])
def test_a_name_that_is_none_is_refused(journal, who):
    with pytest.raises(ConfigError):
        journal.append(who=who, action=Action.REGISTER, after=A)
    assert journal.rows() == []


moves = st.tuples(
    st.sampled_from(["champion", "challenger", "control"]),
    st.sampled_from([A, B, C, None]),
    st.sampled_from([Action.PROMOTE, Action.FORCE, Action.ROLLBACK, Action.OUTSIDE, Action.REQUEST]),
    st.integers(0, 3),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(moves, max_size=12), asked=st.lists(st.integers(-1, 30), min_size=1, max_size=6))
def test_any_sequence_is_answered_as_a_list_would(new_url, sequence, asked):
    engine, clock = database(new_url()), Clock()
    journal, model = Journal(engine, clock=clock), []
    for alias, after, action, wait in sequence:
        moment = clock.later(wait)
        before = journal.current(alias)
        journal.append(who="ana", action=action, alias=alias, before=before, after=after)
        if action is not Action.REQUEST:
            model.append((moment, alias, after))
    for seconds in asked:
        moment = START + dt.timedelta(seconds=seconds)
        for alias in ("champion", "challenger", "control"):
            expected = ([None] + [after for when, name, after in model if name == alias and when <= moment])[-1]
            assert journal.as_of(alias, moment) == expected
            assert journal.aliases_as_of(moment).get(alias) == expected
    assert journal.verify() == len(sequence)
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET why = 'other' WHERE seq = 1",
        f"DELETE FROM {TABLE} WHERE seq = 2",
        f"INSERT INTO {TABLE} SELECT seq + 9, moment, who, action, alias, before, after, why, evidence, digest, 'x' "
        f"FROM {TABLE} WHERE seq = 2",
        f"INSERT INTO {TABLE} SELECT seq + 1, moment, who, action, alias, before, after, why, evidence, previous, 'x' "
        f"FROM {TABLE} WHERE seq = 2",
    ],
    ids=["update", "delete", "gap", "fork"],
)
def test_the_database_itself_refuses_what_is_no_append(journal, statement):
    moved(journal, "champion", A)
    moved(journal, "champion", B)
    with pytest.raises(RecordsError, match="append-only"), writing(journal.engine) as connection:
        connection.exec_driver_sql(statement)
    assert journal.verify() == 2


def test_sqlite_replaces_no_row(tmp_path):
    journal = Journal(database(tmp_path / "book.db"))
    moved(journal, "champion", A)
    with pytest.raises(RecordsError, match="append-only"), writing(journal.engine) as connection:
        connection.exec_driver_sql(f"INSERT OR REPLACE INTO {TABLE} SELECT * FROM {TABLE}")


def test_postgres_truncates_nothing(postgres):
    journal = Journal(database(postgres))
    moved(journal, "champion", A)
    with pytest.raises(RecordsError, match="append-only"), writing(journal.engine) as connection:
        connection.exec_driver_sql(f"TRUNCATE {TABLE}")
    journal.engine.dispose()


def unguarded(journal: Journal, *statements: str, **values: object) -> None:
    """Change rows as somebody would who owns the database; the guards are back afterwards."""
    with writing(journal.engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"ALTER TABLE {TABLE} DISABLE TRIGGER USER")
            for statement in statements:
                connection.execute(sql.text(statement), values)
            connection.exec_driver_sql(f"ALTER TABLE {TABLE} ENABLE TRIGGER USER")
            return
        kept = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
        for name, _ in kept:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(sql.text(statement), values)
        for _, text in kept:
            connection.exec_driver_sql(text)


@pytest.fixture(scope="module")
def long_journals(tmp_path_factory):
    made: dict[str, Journal] = {}
    yield made
    for journal in made.values():
        journal.engine.dispose()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_change_of_any_byte_of_any_row_is_found_there(new_url, request, long_journals, data):
    kind = request.node.callspec.params["new_url"]
    if kind not in long_journals:
        journal = long_journals[kind] = Journal(database(new_url()), clock=Clock())
        for after in (A, B, C, None, A):
            moved(journal, "champion", after)
    journal = long_journals[kind]
    rows = journal.rows()
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from([field.name for field in fields(Row)]))
    old = asdict(rows[place])[name]
    if name == "seq":
        new: object = data.draw(st.integers(100, 1000))
    elif not old:
        new = data.draw(st.sampled_from(["x", "0" * 64]))
    else:
        byte = data.draw(st.integers(0, len(old) - 1))
        other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda char: char != old[byte]))
        new = data.draw(st.sampled_from([old[:byte] + other + old[byte + 1 :], old[:byte] + old[byte + 1 :]]))
    change = f"UPDATE {TABLE} SET {name} = :new WHERE seq = :seq"
    unguarded(journal, change, new=new, seq=rows[place].seq)
    with pytest.raises(RecordsError, match=f"at row {place + 1} "):
        journal.verify()
    unguarded(journal, change, new=old, seq=new if name == "seq" else rows[place].seq)
    assert journal.verify() == 5


def test_a_removed_row_is_found_in_the_middle_and_at_the_end_by_a_kept_head(journal):
    for after in (A, B, C):
        moved(journal, "champion", after)
    head = journal.head
    assert journal.verify(head=head) == 3
    unguarded(journal, f"DELETE FROM {TABLE} WHERE seq = 3")
    assert journal.verify() == 2
    with pytest.raises(RecordsError, match="cut off: row 3"):
        journal.verify(head=head)
    moved(journal, "champion", A)
    with pytest.raises(RecordsError, match="at row 3 it is not the row whose hash was kept"):
        journal.verify(head=head)
    unguarded(journal, f"DELETE FROM {TABLE} WHERE seq = 2")
    with pytest.raises(RecordsError, match="at row 2 it is missing"):
        journal.verify()


def test_bytes_that_are_no_text_are_found_at_their_row(tmp_path):
    journal = Journal(database(tmp_path / "book.db"))
    for after in (A, B, C, A):
        moved(journal, "champion", after)
    unguarded(journal, f"UPDATE {TABLE} SET why = CAST(x'C3' AS TEXT) WHERE seq = 3")
    with pytest.raises(RecordsError, match="at row 3 it cannot be read"):
        journal.verify()
    unguarded(journal, f"UPDATE {TABLE} SET why = x'62' WHERE seq = 2")
    with pytest.raises(RecordsError, match="at row 2 a field holds something else"):
        journal.verify()
    journal.engine.dispose()


def test_a_removed_guard_is_found(journal):
    moved(journal, "champion", A)
    tail = f" ON {TABLE}" if journal.engine.dialect.name == "postgresql" else ""
    with writing(journal.engine) as connection:
        connection.exec_driver_sql(f"DROP TRIGGER {TABLE}_update{tail}")
    with pytest.raises(RecordsError, match=f"guard '{TABLE}_update'"):
        journal.verify()


APPENDING = """
import sys
from leanrisk.core.errors import RecordsError
from leanrisk.records.database import database
from leanrisk.records.journal import Action, Journal
journal = Journal(database(sys.argv[1]))
for place in range(int(sys.argv[3])):
    while True:
        try:
            now = journal.current("champion")
            journal.append(who=sys.argv[2], action=Action.PROMOTE, alias="champion", before=now, after=sys.argv[2] * 64)
            break
        except RecordsError as error:
            if "faster" not in str(error):
                raise
    journal.append(who=sys.argv[2], action=Action.REGISTER, after=f"{place:064d}")
"""


def test_processes_that_append_at_once_keep_one_chain(new_url):
    url, each = new_url(), 8
    started = [
        subprocess.Popen([sys.executable, "-c", APPENDING, url, name, str(each)], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    engine = database(url)
    journal = Journal(engine)
    assert journal.verify() == 2 * 3 * each
    at = None
    for row in journal.rows(actions=[Action.PROMOTE]):
        assert row.before == at
        at = row.after
    for name in "abc":
        assert sum(row.who == name for row in journal.rows()) == 2 * each
    engine.dispose()


def test_postgres_tells_one_time_for_all_hosts(postgres):
    journal = Journal(database(postgres))
    row = moved(journal, "champion", A)
    with reading(journal.engine) as connection:
        assert told(connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()) > row.moment
    journal.engine.dispose()
