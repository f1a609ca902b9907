"""Where a bank buys or keeps its columns: one look-up per source, its price, its delay and how it says "nothing"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One place that columns come from.

    `price` in CNY and `latency_ms` are for one look-up, which brings all of the source's columns; a `lookup` of None
    means that the bank holds them anyway. An empty answer is null in columns of amounts and ratios and `code` in
    columns of whole numbers (null there too where `code` is None). `empty` gives the share of empty answers at the
    start and at the end of the book; `leaning` is the latent trait that makes one likelier, `weight` by how much, and
    `risk` what an empty answer adds to the log-odds of default.
    """

    name: str
    lookup: str | None = None
    price: float = 0.0
    latency_ms: float = 0.0
    code: int | None = None
    empty: tuple[float, float] = (0.0, 0.0)
    leaning: str = ""
    weight: float = 0.0
    risk: float = 0.0


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source("application"),
        Source("macro"),
        Source("account", latency_ms=4.0, empty=(0.18, 0.14), leaning="account_tenure_months", weight=-0.7, risk=0.25),
        Source("bureau", "bureau_company", 20.0, 350.0, -9, (0.16, 0.09), "registry_firm_age_months", -0.6, 0.35),
        Source("owner", "bureau_person", 4.0, 220.0, 999, (0.05, 0.04), "owner_enquiries_3m", 0.3, 0.2),
        Source("tax", "tax_platform", 6.0, 300.0, -9, (0.36, 0.14), "tax_late_filings_12m", 0.6, 0.45),
        # Typed in by an analyst from the borrower's papers, so the price is some minutes of work.
        Source("statement", "statement_entry", 15.0, 0.0, -9, (0.42, 0.34), "application_employees", -0.4, 0.1),
        Source("registry", "company_registry", 1.2, 150.0),
        Source("utility", "utility_platform", 0.8, 180.0, None, (0.5, 0.3)),
        Source("digital", "payments_platform", 1.5, 200.0, None, (0.55, 0.2)),
    )
}
"""All sources by name, in the order in which their columns stand in the file."""
