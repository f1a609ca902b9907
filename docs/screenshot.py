"""Take the picture of a report: `python docs/screenshot.py demo/report.html docs/images/report.png 1280 1600`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


def photograph(page: Path, out: Path, *, width: int = 1280, height: int = 1600) -> None:
    """Write a PNG of the top `height` pixels of `page` at a window `width` pixels wide; needs Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("A picture needs Chromium: none is installed. Install the package 'chromium'.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--hide-scrollbars",
                *QUIET,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={out.resolve()}",
                page.resolve().as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    place = [int(figure) for figure in sys.argv[3:5]]
    photograph(Path(sys.argv[1]), Path(sys.argv[2]), **dict(zip(("width", "height"), place, strict=False)))
