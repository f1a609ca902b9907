"""Facts about the two ends of an edge as known at its moment, for a whole table at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from leanrisk.core.memory import PREFIX, Link, LinkFact, Memory
from leanrisk.graph.link_chains import chains
from leanrisk.graph.link_graph import Asked, LinkGraph, link_graph
from leanrisk.graph.link_pairs import degrees, fans, pair_history, reciprocity
from leanrisk.graph.link_paths import cycles, scatters
from leanrisk.graph.link_risk import risks
from leanrisk.graph.link_timeline import Floats

if TYPE_CHECKING:
    from leanrisk.graph.events import Events


def link_fact_names(link: Link, windows: tuple[float, ...]) -> tuple[str, ...]:
    """Return the names of the columns of a link's facts, family by family in the order in which `link` names them."""
    families = (family for fact in dict.fromkeys(link.facts) for family in _names(fact, windows, link.hops))
    return tuple(f"{PREFIX}{link.name}.{name}" for name in families)


def build_link_facts(memory: Memory, link: Link, events: Events, asked: Events) -> pl.DataFrame:
    """Return one row of float32 facts for every asked row, as known strictly before it happened.

    An edge is known when it happened, its outcome at `known`. All facts of a row that lacks an end are NaN. Columns are
    those of `link_fact_names`; `LinkState` gives the same one row at a time.
    """
    graph, questions = link_graph(link.name, link.cap, events, asked)
    facts = (column for fact in dict.fromkeys(link.facts) for column in _columns(fact, graph, questions, memory, link))
    named = zip(link_fact_names(link, memory.windows), facts, strict=True)
    return pl.DataFrame({name: np.where(questions.missing, np.nan, fact).astype(np.float32) for name, fact in named})


def _names(fact: LinkFact, windows: tuple[float, ...], hops: int) -> tuple[str, ...]:
    ends = ("source", "target")
    match fact:
        case LinkFact.DEGREE:
            return ("out_degree", "in_degree", "out_degree_target", "in_degree_target")
        case LinkFact.FAN:
            return tuple(f"{fan}_{window:g}" for fan in ("fan_out", "fan_in") for window in windows)
        case LinkFact.PAIR:
            return ("pair_count", "pair_recency", "pair_new")
        case LinkFact.RECIPROCITY:
            return ("back_count", "back_share")
        case LinkFact.RISK:
            kinds = ("bads", "risk", "risk_2")[: hops + 1]
            return tuple(f"{end}_{kind}" for kind in kinds for end in ends)
        case LinkFact.CYCLE:
            return ("cycles",)
        case LinkFact.SCATTER:
            return ("scatter",)
        case LinkFact.CHAIN:
            return tuple(f"{end}_chain" for end in ends)


def _columns(fact: LinkFact, graph: LinkGraph, asked: Asked, memory: Memory, link: Link) -> list[Floats]:
    match fact:
        case LinkFact.DEGREE:
            return degrees(graph, asked)
        case LinkFact.FAN:
            return fans(graph, asked, memory.windows)
        case LinkFact.PAIR:
            return pair_history(graph, asked)
        case LinkFact.RECIPROCITY:
            return reciprocity(graph, asked)
        case LinkFact.RISK:
            return risks(graph, asked, link.hops)
        case LinkFact.CYCLE:
            return [cycles(graph, asked)]
        case LinkFact.SCATTER:
            return [scatters(graph, asked)]
        case LinkFact.CHAIN:
            return chains(graph, asked, link.hops)
