"""The same bundle behind a bare FastAPI route: no log, no limits, no keys, no checks but the model's own."""

import os
from typing import Any

from fastapi import FastAPI

from leanrisk.serve.scoring import Scorer

scorer = Scorer.open(os.environ["LEANRISK_BENCH_MODEL"])
app = FastAPI()


@app.post("/score")
async def score(record: dict[str, Any]) -> dict[str, float]:
    """Return the probability of a record."""
    return {"probability": scorer.one(record)}


@app.get("/health")
async def health() -> dict[str, bool]:
    """Return that it runs."""
    return {"live": True}
