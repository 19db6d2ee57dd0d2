"""`mongostore studio`: pages that show what is stored, on this machine."""

from __future__ import annotations

import asyncio
import secrets
import webbrowser
from typing import Annotated

import typer

from mongostore.cli.serve import Port, log_requests, print_line
from mongostore.cli.terminal import Database, Uri, target_of
from mongostore.errors import ConfigurationError
from mongostore.store import AsyncMongoStore


def studio(
    uri: Uri = None,
    database: Database = None,
    port: Port = 8400,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    allow_erase: Annotated[
        bool,
        typer.Option("--allow-erase", help="Let people be erased there, and conversations deleted for good."),
    ] = False,
) -> None:
    """Look into sessions, threads and rooms in a browser.

    It listens on 127.0.0.1 alone, and the address that it prints has a token
    that opens it. It reads, and brings back softly deleted sessions; it changes
    nothing else but with --allow-erase.

    Example:
      mongostore studio --uri mongodb://localhost:27017 --database chat
    """
    log_requests()
    asyncio.run(_serve(uri, database, port, browser, allow_erase))


async def _serve(uri: str | None, database: str | None, port: int, browser: bool, allow_erase: bool) -> None:
    # Imported here, since all other commands do without these packages.
    try:
        from mongostore.servers import runner
        from mongostore.servers.studio import create_app
    except ImportError:
        raise ConfigurationError("the studio needs more packages: pip install 'mongostore[studio]'") from None
    async with AsyncMongoStore(target_of(uri), database, transactions="off", ensure_indexes=False) as store:
        token = secrets.token_urlsafe(24)

        def show(line: str) -> None:
            words, _, address = line.partition("listening at ")
            if words or not address:
                print_line(line)
                return
            print_line(f"{line}/open?token={token}")
            if browser:
                webbrowser.open(f"{address}/open?token={token}")

        app = create_app(store, token=token, allow_erase=allow_erase)
        await runner.run_server(
            app, store.engine, has_keys=True, host=runner.LOOPBACK, port=port, print_line=show
        )
