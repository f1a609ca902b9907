"""The write-ahead file: whatever cuts it short, whole frames before the cut survive, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import OutputError
from leanrisk.serve.spool import Spool, SpoolFull, frame

HEAD = 16


class Opened:
    """A spool and the frames that it told of."""

    def __init__(self, path, most_bytes=1 << 20):
        self.bodies: list[bytes] = []
        self.spool = Spool(path, most_bytes=most_bytes, seen=self._seen)

    def _seen(self, body, place):
        if body is None:
            self.bodies.clear()
        else:
            self.bodies.append(body)

    def append(self, *bodies):
        with self.spool.held():
            self.spool.append(bodies)

    def look(self):
        with self.spool.held():
            return list(self.bodies)


def written(path, bodies):
    one = Opened(path)
    for body in bodies:
        one.append(body)
    one.spool.close()
    return path.read_bytes()


BODIES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


@settings(max_examples=20)
@given(bodies=BODIES, data=st.data())
def test_a_file_cut_at_any_byte_keeps_exactly_the_whole_frames_before(bodies, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        whole = written(path, bodies)
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        ends, end = [], HEAD
        for body in bodies:
            end += len(frame(body))
            ends.append(end)
        survive = [body for body, end in zip(bodies, ends, strict=True) if end <= cut]
        one = Opened(path)
        assert one.look() == survive
        one.append(b"next")
        one.spool.close()
        assert Opened(path).look() == [*survive, b"next"]
        assert os.listdir(folder) == ["spool"]


@settings(max_examples=20)
@given(bodies=BODIES, data=st.data())
def test_zeros_that_a_crash_left_behind_are_no_frames(bodies, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        path.write_bytes(written(path, bodies) + bytes(data.draw(st.integers(1, 100))))
        assert Opened(path).look() == bodies


@settings(max_examples=20)
@given(bodies=BODIES, data=st.data())
def test_a_damaged_byte_ends_what_is_believed_and_the_rest_is_set_aside_or_torn(bodies, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        whole = bytearray(written(path, bodies))
        place = data.draw(st.integers(HEAD, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        end, before = HEAD, []
        for body in bodies:
            end += len(frame(body))
            if end > place:
                break
            before.append(body)
        assert Opened(path).look() == before


def test_a_frame_that_is_whole_but_damaged_is_set_aside_with_all_behind_it(tmp_path):
    path = tmp_path / "spool"
    whole = bytearray(written(path, [b"one", b"two", b"three"]))
    place = HEAD + len(frame(b"one")) + 8
    whole[place] ^= 1
    path.write_bytes(whole)
    assert Opened(path).look() == [b"one"]
    [aside] = tmp_path.glob("spool.damaged-*")
    assert aside.read_bytes() == bytes(whole[HEAD + len(frame(b"one")) :])


def test_two_who_share_the_file_see_what_the_other_appends_and_empties(tmp_path):
    first, second = Opened(tmp_path / "spool"), Opened(tmp_path / "spool")
    first.append(b"a")
    second.append(b"b", b"c")
    assert first.look() == [b"a", b"b", b"c"]
    with second.spool.held():
        bodies, end = second.spool.bodies(0, 1 << 20)
        assert bodies == [b"a", b"b", b"c"]
        assert second.spool.clear(end)
    second.append(b"d", b"e", b"f")
    # As long as before, but another file in all but its name.
    assert first.look() == [b"d", b"e", b"f"]
    with first.spool.held():
        assert not first.spool.clear(end + 1)


def test_a_full_file_takes_nothing_of_a_group(tmp_path):
    one = Opened(tmp_path / "spool", most_bytes=100)
    one.append(b"x" * 40)
    with pytest.raises(SpoolFull, match="64 of 100 bytes"):
        one.append(b"y", b"z" * 40)
    one.append(b"y")
    assert one.look() == [b"x" * 40, b"y"]


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    path = tmp_path / "spool"
    path.write_bytes(b"somebody else's precious bytes")
    with pytest.raises(OutputError, match="something else than decisions"):
        Opened(path)
    assert path.read_bytes() == b"somebody else's precious bytes"


def test_a_disk_that_is_full_refuses_and_what_was_there_stays(tmp_path):
    # The system itself stops the file's growth, in the middle of a frame.
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from leanrisk.serve.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "spool = Spool(Path(sys.argv[1]), most_bytes=1 << 30, seen=lambda body, place: None)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "kept = 0\n"
        "try:\n"
        "    while True:\n"
        "        with spool.held():\n"
        "            spool.append([b'x' * 100] * 3)\n"
        "        kept += 3\n"
        "except OSError as error:\n"
        "    print(kept, error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "spool"], capture_output=True, text=True, check=True)
    kept, refusal = map(int, done.stdout.split())
    assert refusal == errno.EFBIG
    assert kept > 0
    assert Opened(tmp_path / "spool").look() == [b"x" * 100] * kept
