"""What every chart of the page is: a drawing (or none, where nothing was measured), a legend and its explanation."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

SIDES = ("incumbent", "lean")


@dataclass(frozen=True)
class Figure:
    """One chart; `svg` is None where the run did not measure it, and the page then says so.

    The catalogue holds its texts under `figure.<name>`: title, what (it shows), read (how), good (what is).
    `legend` pairs a class of the style sheet with a label.
    """

    name: str
    svg: Markup | None
    legend: tuple[tuple[str, str], ...] = ()
