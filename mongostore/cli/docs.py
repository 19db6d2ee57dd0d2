"""`mongostore docs`: where to read the documentation."""

from __future__ import annotations

from importlib.metadata import metadata

from mongostore.cli.terminal import out, plain

_ADDRESSES = """\
Read it:
  {repository}/blob/main/docs/pages/index.md

Build it, to read it without a connection:
  git clone {repository}
  cd mongostore
  python3 -m venv .venv
  .venv/bin/pip install . zensical mkdocstrings-python
  .venv/bin/python docs/build.py

Then open docs/site/index.html in a browser.
"""


def docs() -> None:
    """Show where the documentation is, and how to build it.

    The package does not contain the built site, which is ten times as large
    as the package. The site also has each page as Markdown, and llms.txt.

    Example:
      mongostore docs
    """
    urls = dict(url.split(", ", 1) for url in metadata("mongostore").get_all("Project-URL") or [])
    for line in _ADDRESSES.format(repository=urls["Homepage"]).splitlines():
        out.print(plain(line), soft_wrap=True)
