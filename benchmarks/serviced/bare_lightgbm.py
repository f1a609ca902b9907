"""A bare FastAPI route around a LightGBM, as it is often written: no log, no check, no hash; uvicorn runs `app`."""

from __future__ import annotations

import os
from typing import Any

import lightgbm
import numpy as np
from fastapi import FastAPI

booster = lightgbm.Booster(model_file=os.environ["LEANRISK_BENCH_MODEL"])
names = booster.feature_name()
app = FastAPI()


@app.post("/score")
async def score(record: dict[str, Any]) -> dict[str, float]:
    """Return the probability of a record."""
    row = np.array([[np.nan if (value := record.get(name)) is None else float(value) for name in names]])
    return {"probability": float(booster.predict(row, num_threads=1)[0])}


@app.get("/health")
async def health() -> dict[str, bool]:
    """Return that it runs."""
    return {"live": True}
