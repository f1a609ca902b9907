"""`python -m leanrisk`: the same as the command `leanrisk`."""

from __future__ import annotations

import sys

from leanrisk.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
