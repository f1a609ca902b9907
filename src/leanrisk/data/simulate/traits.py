"""The hidden traits of a loan, how each bears on default, and the columns that measure them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leanrisk.data.simulate.columns import Drift, Numeric, Shape, Worth


class Effect(StrEnum):
    """The form in which a trait `z` (standard normal) enters the log-odds of default, before its weight."""

    LINEAR = "linear"
    """z"""
    BEND = "bend"
    """tanh(1.5 z): saturates at both ends."""
    HINGE = "hinge"
    """max(z - 0.3, 0) * 1.8: nothing below, steep above."""
    STEP = "step"
    """A smooth jump of 2.4 at z = 1."""
    VALLEY = "valley"
    """(min(z^2, 5) - 1) * 0.7: both extremes are bad."""


class Fading(StrEnum):
    """How the bearing of a trait on default changes over the book."""

    NONE = "none"
    GONE = "gone"
    """Falls to nothing by the last month."""
    STRAINED = "strained"
    """Grows by 80 % at the trough of the downturn."""
    WEAKENED = "weakened"
    """Shrinks by 70 % at the trough of the downturn."""


@dataclass(frozen=True)
class Trait:
    """One hidden trait; it bears the name of the column that measures it best."""

    name: str
    source: str
    shape: Shape
    a: float
    s: float
    effect: Effect
    weight: float
    fading: Fading = Fading.NONE
    drift: Drift = Drift.NONE
    shift: float = 0.0

    def column(self) -> Numeric:
        """Return the column that measures the trait."""
        return Numeric(
            self.name,
            self.source,
            Worth.INFORMATIVE,
            self.shape,
            self.a,
            self.s,
            self.name,
            0.95,
            self.drift,
            self.shift,
        )


_A, _P, _R, _C, _S, _D = Shape.AMOUNT, Shape.SHARE, Shape.RATIO, Shape.COUNT, Shape.SCORE, Shape.SINCE
_L, _B, _H, _J, _V = Effect.LINEAR, Effect.BEND, Effect.HINGE, Effect.STEP, Effect.VALLEY

TRAITS: tuple[Trait, ...] = (
    Trait("account_overdraft_days_90d", "account", _C, 0.8, 1.1, _J, 0.51),
    Trait("account_balance_mean_90d", "account", _A, 4.6, 1.3, _B, -0.31),
    Trait("cashflow_volatility_3m", "account", _R, 0.45, 0.16, _V, 0.28),
    Trait("cashflow_net_margin_6m", "account", _R, 0.06, 0.12, _B, -0.24),
    Trait("account_returned_payments_6m", "account", _C, -0.6, 1.2, _H, 0.28),
    Trait("account_inflow_growth_6m", "account", _R, 0.08, 0.3, _V, 0.21, Fading.NONE, Drift.STRESS, -0.5),
    Trait("account_counterparty_concentration_6m", "account", _P, -0.9, 0.9, _L, 0.07),
    Trait("account_tenure_months", "account", _C, 3.4, 0.7, _B, -0.14),
    Trait("account_salary_payments_trend_6m", "account", _R, 0.02, 0.15, _L, -0.11, Fading.NONE, Drift.STRESS, -0.4),
    Trait("account_related_party_outflow_share_6m", "account", _P, -2.2, 1.0, _H, 0.21),
    Trait("account_balance_min_30d", "account", _A, 2.9, 1.4, _L, -0.05),
    Trait("bureau_enquiries_6m", "bureau", _C, 0.9, 0.8, _H, 0.35, Fading.NONE, Drift.TREND, 0.45),
    Trait("bureau_utilisation", "bureau", _P, 0.3, 1.1, _J, 0.39, Fading.STRAINED),
    Trait("bureau_overdue_amount_24m", "bureau", _A, 1.2, 2.0, _B, 0.31),
    Trait("bureau_days_since_last_overdue", "bureau", _D, 5.9, 0.9, _B, -0.21),
    Trait("bureau_credit_age_months", "bureau", _C, 4.0, 0.6, _B, -0.15),
    Trait("bureau_lenders", "bureau", _C, 1.0, 0.5, _V, 0.21),
    Trait("bureau_short_term_debt_share", "bureau", _P, 0.5, 1.0, _L, 0.12, Fading.STRAINED),
    Trait("bureau_new_loans_3m", "bureau", _C, -0.3, 0.9, _H, 0.21),
    Trait("bureau_guarantees_given_amount", "bureau", _A, 2.5, 2.1, _H, 0.18, Fading.STRAINED),
    Trait("bureau_limit_total", "bureau", _A, 7.2, 1.0, _L, -0.04),
    Trait("tax_sales_growth_12m", "tax", _R, 0.07, 0.24, _V, 0.31, Fading.NONE, Drift.STRESS, -0.7),
    Trait("tax_sales_amount_12m", "tax", _A, 8.4, 1.1, _B, -0.15),
    Trait("tax_profit_margin_12m", "tax", _R, 0.07, 0.08, _L, -0.14),
    Trait("tax_invoice_cancel_rate_6m", "tax", _P, -3.1, 0.8, _H, 0.21),
    Trait("tax_late_filings_12m", "tax", _C, -0.8, 1.0, _H, 0.24),
    Trait("tax_customer_concentration_12m", "tax", _P, -0.4, 0.9, _L, 0.07),
    Trait("tax_sales_volatility_12m", "tax", _R, 0.4, 0.13, _L, 0.07),
    Trait("tax_months_without_invoice_12m", "tax", _C, -0.7, 1.1, _J, 0.28),
    Trait("tax_payroll_growth_12m", "tax", _R, 0.04, 0.14, _L, -0.05, Fading.NONE, Drift.STRESS, -0.3),
    Trait("statement_current_ratio", "statement", _R, 1.5, 0.45, _B, -0.12),
    Trait("statement_debt_ratio", "statement", _P, 0.2, 0.7, _J, 0.31, Fading.STRAINED),
    Trait("statement_interest_cover", "statement", _R, 3.1, 1.9, _B, -0.15, Fading.STRAINED),
    Trait("statement_inventory_days", "statement", _C, 4.0, 0.6, _L, 0.04, Fading.NONE, Drift.STRESS, 0.4),
    Trait("statement_receivable_days", "statement", _C, 4.1, 0.5, _V, 0.1),
    Trait("owner_card_utilisation", "owner", _P, -0.4, 1.2, _H, 0.24),
    Trait("owner_enquiries_3m", "owner", _C, 0.3, 0.8, _L, 0.15),
    Trait("owner_overdue_count_24m", "owner", _C, -0.9, 1.3, _H, 0.35),
    Trait("owner_property_value", "owner", _A, 7.3, 0.9, _B, -0.14, Fading.WEAKENED),
    Trait("owner_age_years", "owner", _S, 44.0, 8.5, _V, 0.1),
    Trait("owner_personal_guarantees_amount", "owner", _A, 3.1, 1.8, _L, 0.05),
    Trait("registry_lawsuits_24m", "registry", _C, -1.2, 1.2, _J, 0.35),
    Trait("registry_firm_age_months", "registry", _C, 4.3, 0.6, _B, -0.21),
    Trait("registry_shareholder_changes_24m", "registry", _C, -1.4, 1.1, _L, 0.05),
    Trait("registry_enforcement_amount_24m", "registry", _A, -0.6, 2.0, _H, 0.24),
    Trait("application_loan_amount", "application", _A, 6.4, 0.8, _L, 0.04),
    Trait("application_loan_to_sales", "application", _P, -1.6, 0.8, _H, 0.21),
    Trait("application_collateral_coverage", "application", _R, 1.1, 0.35, _B, -0.24, Fading.WEAKENED),
    Trait("application_employees", "application", _C, 2.9, 0.9, _L, -0.04),
    Trait("utility_electricity_growth_6m", "utility", _R, 0.03, 0.2, _L, -0.07, Fading.NONE, Drift.STRESS, -0.5),
    Trait("digital_pos_sales_trend_3m", "digital", _R, 0.03, 0.25, _L, -0.15, Fading.GONE, Drift.TREND, 0.4),
)
"""Every trait; the position is the trait's row in the matrix of latent values."""

PLACE: dict[str, int] = {trait.name: place for place, trait in enumerate(TRAITS)}
"""Name of a trait -> its position in `TRAITS`."""

PAIRS: tuple[tuple[str, float, str, float, float], ...] = (
    ("bureau_utilisation", 1, "account_overdraft_days_90d", 1, 0.3),
    ("statement_debt_ratio", 1, "tax_sales_growth_12m", -1, 0.28),
    ("registry_firm_age_months", -1, "account_inflow_growth_6m", 1, 0.26),
    ("tax_customer_concentration_12m", 1, "application_employees", -1, 0.24),
    ("application_loan_to_sales", 1, "application_collateral_coverage", -1, 0.28),
    ("bureau_enquiries_6m", 1, "bureau_new_loans_3m", 1, 0.24),
    ("bureau_guarantees_given_amount", 1, "cashflow_net_margin_6m", -1, 0.22),
    ("account_balance_mean_90d", -1, "statement_receivable_days", 1, 0.2),
)
"""Interactions: (trait, sign, trait, sign, weight); weight * max(sign z, 0) * max(sign z, 0) joins the log-odds."""

SECOND_LOOKS: tuple[tuple[str, str, Shape, float, float, str], ...] = (
    ("account_overdraft_depth_90d", "account", _A, 2.2, 1.6, "account_overdraft_days_90d"),
    ("account_balance_stability_6m", "account", _P, 0.5, 0.8, "account_balance_mean_90d"),
    ("tax_vat_paid_12m", "tax", _A, 5.5, 1.2, "tax_sales_amount_12m"),
    ("tax_credit_points", "tax", _S, 82.0, 9.0, "tax_late_filings_12m"),
    ("bureau_overdue_days_max_24m", "bureau", _C, 1.4, 1.5, "bureau_overdue_amount_24m"),
    ("bureau_balance_total", "bureau", _A, 6.5, 1.1, "bureau_limit_total"),
    ("owner_score", "owner", _S, 640.0, 62.0, "owner_overdue_count_24m"),
    ("statement_quick_ratio", "statement", _R, 1.0, 0.4, "statement_current_ratio"),
    ("statement_operating_margin", "statement", _R, 0.08, 0.09, "tax_profit_margin_12m"),
    ("registry_capital_paid_share", "registry", _P, 0.7, 1.3, "registry_firm_age_months"),
    ("utility_bill_delay_days_6m", "utility", _C, 0.9, 1.0, "account_returned_payments_6m"),
    ("digital_refund_rate_3m", "digital", _P, -3.0, 0.7, "tax_invoice_cancel_rate_6m"),
)
"""Second measurements of a trait with errors of their own: (column, source, shape, a, s, trait)."""

_FALLING = frozenset({"tax_credit_points", "owner_score"})


def informative_numerics() -> tuple[Numeric, ...]:
    """Return every numeric column that tells something of its own: one per trait, then the second measurements."""
    seconds = (
        Numeric(name, source, Worth.INFORMATIVE, shape, a, s, trait, -0.7 if name in _FALLING else 0.7)
        for name, source, shape, a, s, trait in SECOND_LOOKS
    )
    return (*(trait.column() for trait in TRAITS), *seconds)
