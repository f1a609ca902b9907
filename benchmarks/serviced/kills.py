"""kill -9 under load, again and again: every decision that was answered is in the log, and none twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from benchmarks.runner import Bar
from benchmarks.serviced.books import Book
from benchmarks.serviced.effort import Effort, Figures
from benchmarks.serviced.load import Asked
from benchmarks.serviced.processes import begun, ended, service
from leanrisk.core.seeding import generator
from leanrisk.records.database import database
from leanrisk.records.decisions import Decisions


def measured(place: Path, book: Book, effort: Effort) -> tuple[Figures, list[Bar]]:
    """Return figures and bars."""
    folder = place / "kills"
    folder.mkdir()
    pauses = generator(0, "benchmark kills").uniform(0.2, 1.0, effort.kills)
    answered: list[str] = []
    for turn in range(effort.kills):
        with service(folder, f'bundle = "{book.bundle}"\n') as one:
            asked = Asked(one.port, "/score", str(book.records), 20, 16, answers=str(folder / f"answers{turn}.txt"))
            load = begun(asked)
            # The load takes a moment to start.
            time.sleep(0.4 + float(pauses[turn]))
            one.process.kill()
            answered += [line[2] for line in ended(load, asked).lines if line[1] == "200"]
    with service(folder, f'bundle = "{book.bundle}"\n'):
        pass
    engine = database(folder / "decisions.db")
    kept = Counter(row.id for row in Decisions(engine).between(0, time.time() + 1))
    repeats = Decisions(engine).count()["repeats"]
    engine.dispose()
    lost = len(set(answered) - set(kept))
    figures: Figures = {
        "kills": effort.kills,
        "kill_answered": len(answered),
        "kill_kept": sum(kept.values()),
        "kill_lost": lost,
    }
    twice = sum(count - 1 for count in kept.values()) + repeats + len(answered) - len(set(answered))
    return figures, [
        Bar.at_least("kills with decisions answered before them", min(effort.kills, len(answered)), effort.kills),
        Bar.at_most("decisions answered 200 that are not in the log", lost, 0),
        Bar.at_most("decisions in the log twice", twice, 0),
    ]
