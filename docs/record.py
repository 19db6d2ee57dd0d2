"""Records the demo as an SVG: `python docs/record.py`."""

from __future__ import annotations

import os
from pathlib import Path

os.environ |= {"FORCE_COLOR": "1", "COLUMNS": "88", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0"}

from mongostore.cli import load_command
from mongostore.cli.terminal import out

ASSETS = Path(__file__).parent / "pages" / "assets"


def record() -> None:
    """Run the demo on the embedded engine and write what it prints, step by step, as an image."""
    out.record = True
    load_command("demo").main(["--uri", "mongomock://demo"], standalone_mode=False)
    (ASSETS / "demo.svg").write_text(out.export_svg(title="mongostore demo"))


if __name__ == "__main__":
    record()
