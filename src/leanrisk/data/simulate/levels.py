"""The levels of the category columns: the industry tree, regions, branches, products and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.columns import Categorical, Worth

# fmt: off
REGIONS = (
    "Guangdong", "Jiangsu", "Shandong", "Zhejiang", "Henan", "Sichuan", "Hubei", "Fujian", "Hunan", "Shanghai",
    "Anhui", "Hebei", "Beijing", "Shaanxi", "Jiangxi", "Chongqing", "Liaoning", "Yunnan", "Guangxi", "Shanxi",
    "Guizhou", "Xinjiang", "Tianjin", "Heilongjiang", "Jilin", "Gansu", "Hainan", "Ningxia", "Qinghai", "Tibet",
    "InnerMongolia",
)
# fmt: on
BRANCHES = 72
OFFICERS_PER_BRANCH = 6
LATE_BRANCHES_FROM = 24
"""First month in which new branches open."""

_SECTORS = (11, 21, 22, 23, 31, 32, 33, 42, 44, 45, 48, 49, 51, 53, 54, 56, 61, 62, 72, 81)
_SECTOR_WEIGHTS = (3, 1, 1, 9, 7, 8, 12, 14, 11, 5, 6, 2, 3, 3, 5, 3, 1, 2, 5, 3)


@dataclass(frozen=True)
class Industries:
    """A tree of codes in the manner of NAICS: each code of 6 digits with its parents of 4, 3 and 2.

    codes, groups, subsectors, sectors: the distinct codes of each depth, ascending. group_of, subsector_of, sector_of:
    position of each 6-digit code's parent. weights: share of firms by 6-digit code, summing to 1.
    """

    codes: tuple[str, ...]
    groups: tuple[str, ...]
    subsectors: tuple[str, ...]
    sectors: tuple[str, ...]
    group_of: npt.NDArray[np.int64]
    subsector_of: npt.NDArray[np.int64]
    sector_of: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def tree(cls) -> Industries:
        """Return the tree; it is the same in every book."""
        leaves = [
            (f"{sector}{sub}{group}{leaf:02d}", weight / (sub * group * leaf) ** 0.6)
            for place, (sector, weight) in enumerate(zip(_SECTORS, _SECTOR_WEIGHTS, strict=True))
            for sub in range(1, 3 + place * 7 % 4)
            for group in range(1, 3 + (place + sub) * 5 % 3)
            for leaf in range(1, 3 + (place + sub + group) % 4)
        ]
        codes = np.array([code for code, _ in leaves])
        weights = np.array([weight for _, weight in leaves])
        groups, group_of = np.unique(codes.astype("U4"), return_inverse=True)
        subsectors, subsector_of = np.unique(codes.astype("U3"), return_inverse=True)
        sectors, sector_of = np.unique(codes.astype("U2"), return_inverse=True)
        return cls(
            codes=tuple(codes.tolist()),
            groups=tuple(groups.tolist()),
            subsectors=tuple(subsectors.tolist()),
            sectors=tuple(sectors.tolist()),
            group_of=group_of.astype(np.int64),
            subsector_of=subsector_of.astype(np.int64),
            sector_of=sector_of.astype(np.int64),
            weights=weights / weights.sum(),
        )


def region_weights() -> npt.NDArray[np.float64]:
    """Return the share of firms by region, summing to 1: the first are by far the largest."""
    weights = 1.0 / (np.arange(len(REGIONS)) + 3.0)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def branch_names() -> tuple[str, ...]:
    """Return the names of the bank's branches."""
    return tuple(f"BR{1000 + 7 * place}" for place in range(BRANCHES))


def officer_names() -> tuple[str, ...]:
    """Return the names of the loan officers; branch b employs the b-th six of them."""
    return tuple(f"LO{20000 + 13 * place}" for place in range(BRANCHES * OFFICERS_PER_BRANCH))


def informative_categories() -> tuple[Categorical, ...]:
    """Return the category columns that bear on default, the most telling first."""
    return (*_most_telling(), *_less_telling())


def _most_telling() -> tuple[Categorical, ...]:
    tree, fact = Industries.tree(), Worth.INFORMATIVE
    return (
        Categorical(
            "tax_rating",
            "tax",
            fact,
            tuple("ABMCD"),
            (0.22, 0.4, 0.24, 0.1, 0.04),
            latent="tax_late_filings_12m",
            effects=(-0.15, 0.0, 0.1, 0.35, 0.7),
            reliability=0.6,
        ),
        Categorical("industry_sector", "application", fact, tree.sectors),
        Categorical("branch", "application", fact, branch_names()),
        Categorical(
            "acquisition_channel",
            "application",
            fact,
            ("branch", "phone", "agent", "online", "mini_program", "partner_platform"),
            (0.5, 0.12, 0.2, 0.18, 0.16, 0.14),
            (-0.15, 0.0, 0.35, 0.1, 0.15, 0.5),
            (0, 0, 0, 0, 30, 64),
        ),
        Categorical(
            "loan_product",
            "application",
            fact,
            ("term", "revolving", "invoice", "equipment", "property", "relief", "green"),
            (0.34, 0.24, 0.16, 0.12, 0.14, 0.12, 0.08),
            (0.0, 0.25, -0.1, -0.2, -0.3, 0.45, -0.15),
            (0, 0, 0, 0, 0, 50, 78),
        ),
        Categorical(
            "bureau_account_status",
            "bureau",
            fact,
            ("normal", "attention", "substandard", "restructured", "closed"),
            (0.78, 0.13, 0.03, 0.02, 0.04),
            (-0.1, 0.35, 0.8, 0.7, 0.1),
            latent="bureau_overdue_amount_24m",
            reliability=0.5,
        ),
    )


def _less_telling() -> tuple[Categorical, ...]:
    tree, fact = Industries.tree(), Worth.INFORMATIVE
    return (
        Categorical(
            "collateral_type",
            "application",
            fact,
            ("none", "guarantee", "property", "equipment", "receivables", "deposit"),
            (0.32, 0.24, 0.2, 0.1, 0.1, 0.04),
            (0.2, 0.1, -0.25, 0.05, 0.0, -0.7),
        ),
        Categorical("industry_subsector", "application", fact, tree.subsectors),
        Categorical("region", "application", fact, REGIONS),
        Categorical(
            "legal_form",
            "registry",
            fact,
            ("limited", "sole_trader", "partnership", "joint_stock", "cooperative", "branch_office"),
            (0.58, 0.2, 0.09, 0.06, 0.05, 0.02),
            (0.0, 0.2, 0.1, -0.25, -0.05, 0.3),
        ),
        Categorical(
            "loan_purpose",
            "application",
            fact,
            ("working_capital", "inventory", "equipment", "refinance", "premises", "expansion", "tax_payment", "other"),
            (0.38, 0.16, 0.12, 0.1, 0.08, 0.08, 0.03, 0.05),
            (0.0, 0.05, -0.15, 0.35, -0.15, 0.1, 0.45, 0.15),
        ),
        Categorical(
            "repayment_type",
            "application",
            fact,
            ("bullet", "instalment", "interest_only", "flexible"),
            (0.34, 0.38, 0.2, 0.08),
            (0.15, -0.15, 0.15, 0.0),
        ),
    )


def redundant_categories() -> tuple[Categorical, ...]:
    """Return the category columns that repeat what others tell."""
    return (
        Categorical(
            "customer_segment",
            "application",
            Worth.REDUNDANT,
            ("micro", "small", "lower_mid", "upper_mid"),
            (0.42, 0.34, 0.16, 0.08),
            latent="tax_sales_amount_12m",
            reliability=0.85,
        ),
        Categorical(
            "owner_score_band",
            "owner",
            Worth.REDUNDANT,
            tuple("ABCDEFG"),
            (0.1, 0.18, 0.24, 0.2, 0.14, 0.09, 0.05),
            latent="owner_overdue_count_24m",
            reliability=0.65,
        ),
    )


def noise_categories() -> tuple[Categorical, ...]:
    """Return the category columns that tell nothing."""
    return (
        Categorical(
            "owner_education",
            "owner",
            Worth.NOISE,
            ("primary", "secondary", "vocational", "bachelor", "master", "unknown"),
            (0.08, 0.34, 0.28, 0.2, 0.03, 0.07),
        ),
        Categorical(
            "owner_phone_operator",
            "owner",
            Worth.NOISE,
            ("mobile", "telecom", "unicom", "virtual"),
            (0.58, 0.22, 0.17, 0.03),
        ),
        Categorical(
            "statement_auditor_type",
            "statement",
            Worth.NOISE,
            ("none", "local", "national", "big_four"),
            (0.7, 0.22, 0.07, 0.01),
        ),
    )
