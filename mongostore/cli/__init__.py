"""The command line: `mongostore demo | import | export | serve | ping | doctor | keys | indexes`."""

from __future__ import annotations

import typer

from mongostore.cli.demo import demo
from mongostore.cli.doctor import doctor
from mongostore.cli.inspect import indexes, ping
from mongostore.cli.keys import keys
from mongostore.cli.serve import serve
from mongostore.cli.transfer import export_lines, import_lines

app = typer.Typer(
    help="Conversations in MongoDB.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command("import")(import_lines)
app.command("export")(export_lines)
app.command()(ping)
app.command()(doctor)
app.add_typer(serve, name="serve")
app.add_typer(keys, name="keys")
app.add_typer(indexes, name="indexes")


def main() -> None:
    """Run the command line."""
    app(prog_name="mongostore")
