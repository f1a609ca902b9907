"""The version of LeanRisk, written down once: packaging, result files and bundles all read it here."""

from __future__ import annotations

__version__ = "0.1.0"
