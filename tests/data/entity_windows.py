"""A plain memory of events, one at a time: what entity windows tell at each moment, from nothing later than it."""

import heapq
from bisect import bisect_left
from collections import Counter

import lightgbm
import numpy as np

DAY = 86_400


class Side:
    """What one entity did so far on one side: moments, the other ends, and amounts summed up."""

    def __init__(self):
        self.moments, self.others, self.sums = [], [], [0.0]

    def note(self, now, other, amount):
        self.moments.append(now)
        self.others.append(other)
        self.sums.append(self.sums[-1] + amount)

    def facts(self, now):
        day, week, month = (bisect_left(self.moments, now - days * DAY) for days in (1, 7, 30))
        count = len(self.moments)
        distinct = [len(set(self.others[begun:])) for begun in (day, week)]
        return [count - day, count - week, count - month, *distinct, self.sums[-1] - self.sums[month]]


def windows(moments, sources, sinks, amounts, bad, known):
    """Return 32 facts for each event: pair counts, recency, known outcomes of both ends, and windows of both sides."""
    sides: dict[tuple, Side] = {}
    pairs: Counter[tuple] = Counter()
    seen: Counter[int] = Counter()
    bads: Counter[int] = Counter()
    last: dict[int, int] = {}
    pending: list[tuple] = []
    rows = []
    for now, source, sink, amount, label, report in zip(moments, sources, sinks, amounts, bad, known, strict=True):
        while pending and pending[0][0] < now:
            _, was_bad, *ends = heapq.heappop(pending)
            seen.update(ends)
            bads.update(ends if was_bad else ())
        row = [pairs[source, sink], pairs[sink, source], now - last.get(source, 0), now - last.get(sink, 0)]
        for end in (source, sink):
            row += [bads[end], (bads[end] + 0.02) / (seen[end] + 1)]
            row += [fact for way in ("out", "in") for fact in sides.setdefault((way, end), Side()).facts(now)]
        rows.append(row)
        sides["out", source].note(now, sink, amount)
        sides["in", sink].note(now, source, amount)
        pairs[source, sink] += 1
        last[source] = last[sink] = now
        heapq.heappush(pending, (report, label, source, sink))
    return np.array(rows, dtype=np.float64)


def boosted(train, bad, test):
    """Return the scores of a LightGBM, sturdy enough for few bads, for the rows of `test`."""
    options = {
        "objective": "binary", "num_leaves": 15, "learning_rate": 0.08, "min_data_in_leaf": 50, "lambda_l2": 10.0,
        "feature_fraction": 0.6, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": 1, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    return lightgbm.train(options, lightgbm.Dataset(train, bad), 60).predict(test)
