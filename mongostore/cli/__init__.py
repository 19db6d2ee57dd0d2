"""The command line: `mongostore demo | import | export | serve | studio | ping | doctor | keys | indexes`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import mongostore
from mongostore.cli.admin import indexes, ping
from mongostore.cli.demo import demo
from mongostore.cli.doctor import doctor
from mongostore.cli.import_export import export_lines, import_conversations
from mongostore.cli.keys import keys
from mongostore.cli.serve import serve
from mongostore.cli.studio import studio


class _Commands(TyperGroup):
    """Quotes a wrong command line without the password of a URI in it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the command line names."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            # An error of usage, whose class is typer's own or click's, by its version.
            if isinstance(message := getattr(error, "message", None), str):
                error.message = re.sub(r"://\S*@", "://***@", message)  # type: ignore[attr-defined]
            raise


app: Final = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mongostore {mongostore.__version__}")
        raise typer.Exit


@app.callback(help="Conversations in MongoDB.")
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.command()(demo)
app.command("import")(import_conversations)
app.command("export")(export_lines)
app.command()(ping)
app.command()(doctor)
app.command()(studio)
app.add_typer(serve, name="serve")
app.add_typer(keys, name="keys")
app.add_typer(indexes, name="indexes")


def main() -> None:
    """Run the command line."""
    app(prog_name="mongostore")
