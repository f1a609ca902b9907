"""Writing a simulated book: the same rows in every format and chunking, and nothing left behind by a cut."""

import contextlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.core.files import sha256_of
from leanrisk.core.progress import Silent
from leanrisk.data.read import read_table
from leanrisk.data.simulate.aml.transfers import AmlSize, simulate_aml
from leanrisk.data.simulate.book import BLOCK_ROWS
from leanrisk.data.simulate.card.payments import CardSize, simulate_card
from leanrisk.data.simulate.sme import simulate_sme
from leanrisk.data.simulate.writer import write_aml, write_card, write_sme

ROWS = BLOCK_ROWS + 500
FEATURES = 24


class Counting(Silent):
    """Notes how far the bar moved; raises at the first step where it is told to."""

    def __init__(self, cut=None):
        self.total, self.done, self._cut = None, 0, cut

    @contextlib.contextmanager
    def track(self, what, total=None):
        self.total = total
        yield self._advance

    def _advance(self, steps):
        self.done += steps
        if self._cut is not None:
            raise self._cut


@pytest.fixture(scope="module")
def book():
    return simulate_sme(rows=ROWS, features=FEATURES, seed=5)


def write(path, **options):
    write_sme(path, **{"rows": ROWS, "features": FEATURES, "seed": 5} | options)
    return path


@settings(max_examples=6, deadline=None)
@given(chunk_rows=st.integers(700, 40_000), workers=st.integers(1, 3))
def test_parquet_holds_the_rows_of_the_frame_whatever_the_chunks(tmp_path_factory, book, chunk_rows, workers):
    path = write(tmp_path_factory.mktemp("book") / "book.parquet", chunk_rows=chunk_rows, workers=workers)
    assert pl.read_parquet(path).equals(book, null_equal=True)
    assert pl.read_parquet(path).schema == book.schema


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a.parquet"), write(tmp_path / "b.parquet", workers=1)
    assert sha256_of(first) == sha256_of(second)


@pytest.mark.parametrize("name", ["book.arrow", "book.csv", "BOOK.CSV"])
def test_other_formats_hold_the_same_rows(tmp_path, book, name):
    frame = read_table(write(tmp_path / name))
    assert frame.columns == book.columns
    assert frame.height == ROWS
    for column in ("loan_id", "bad", "bureau_utilisation", "branch"):
        assert frame[column].cast(pl.String).equals(book[column].cast(pl.String), null_equal=True), column


def test_progress_counts_every_row(tmp_path):
    watched = Counting()
    write(tmp_path / "book.parquet", progress=watched, chunk_rows=5_000)
    assert watched.total == watched.done == ROWS


def test_a_cut_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write(tmp_path / "book.parquet", rows=100)
    before = sha256_of(path)
    with pytest.raises(KeyboardInterrupt):
        write(path, progress=Counting(cut=KeyboardInterrupt()), chunk_rows=1_000)
    assert sha256_of(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["book.parquet"]


@pytest.mark.parametrize("options", [{"rows": 0}, {"features": 5}, {"seed": -3}, {"chunk_rows": 0}])
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, options):
    with pytest.raises(ConfigError):
        write(tmp_path / "book.parquet", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_is_refused_with_the_ones_that_work(tmp_path):
    with pytest.raises(ConfigError, match=r"\.parquet.*\.csv.*book\.xlsx"):
        write(tmp_path / "book.xlsx")


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(OutputError, match="taken"):
        write(tmp_path / "taken" / "book.parquet")


TRANSFERS = AmlSize(600, share=0.01, seed=5)


@pytest.mark.parametrize("name", ["book.parquet", "book.arrow", "book.csv"])
def test_transfers_and_accounts_are_written_in_every_format(tmp_path, name):
    files = tmp_path / name, tmp_path / f"accounts_{name}"
    write_aml(*files, TRANSFERS, chunk_rows=5_000)
    for file, frame in zip(files, simulate_aml(TRANSFERS), strict=True):
        read = read_table(file)
        assert (read.height, read.columns) == (frame.height, frame.columns)
        if file.suffix != ".csv":
            assert read.equals(frame, null_equal=True)


def test_a_cut_between_transfers_and_accounts_leaves_neither(tmp_path):
    watched = Counting(cut=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_aml(tmp_path / "book.parquet", tmp_path / "accounts.parquet", TRANSFERS, progress=watched)
    assert watched.total == TRANSFERS.rows
    assert list(tmp_path.iterdir()) == []


def test_transfers_and_accounts_need_a_file_each(tmp_path):
    with pytest.raises(ConfigError, match="a file each"):
        write_aml(tmp_path / "book.parquet", tmp_path / "book.parquet", TRANSFERS)


@pytest.mark.parametrize("name", ["book.parquet", "book.arrow", "book.csv"])
def test_card_payments_are_written_in_every_format(tmp_path, name):
    size = CardSize(12_000, share=0.01, seed=5)
    write_card(tmp_path / name, size, chunk_rows=5_000, workers=1)
    read, frame = read_table(tmp_path / name), simulate_card(size)
    assert (read.height, read.columns) == (frame.height, frame.columns)
    assert name == "book.csv" or read.equals(frame, null_equal=True)
    assert read["amount"].equals(frame["amount"])


@pytest.mark.parametrize("name", ["aml", "card"])
def test_the_same_seed_gives_the_same_bytes_of_transactions(tmp_path, name):
    def written(place):
        folder = tmp_path / place
        if name == "aml":
            write_aml(folder / "book.parquet", folder / "accounts.parquet", TRANSFERS)
        else:
            write_card(folder / "book.parquet", CardSize(12_000, share=0.01, seed=5))
        return [sha256_of(file) for file in sorted(folder.iterdir())]

    assert written("one") == written("other")


def test_a_chunk_of_no_rows_is_refused_for_every_book(tmp_path):
    with pytest.raises(ConfigError, match="chunk_rows is 0"):
        write_card(tmp_path / "book.parquet", CardSize(12_000), chunk_rows=0)
    with pytest.raises(ConfigError, match="chunk_rows is -1"):
        write_aml(tmp_path / "book.parquet", tmp_path / "accounts.parquet", TRANSFERS, chunk_rows=-1)
    assert list(tmp_path.iterdir()) == []
