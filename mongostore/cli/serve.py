"""`mongostore serve`: the store over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Annotated, Final

import typer

from mongostore.cli.terminal import Database, Uri, err, plain, target_of
from mongostore.errors import ConfigurationError
from mongostore.settings import IntegratorName, Settings
from mongostore.store import AsyncMongoStore
from mongostore.sync import MongoStore

serve: Final = typer.Typer(
    invoke_without_command=True, help="Serve the store over HTTP, by default its sessions."
)

_LOGGED_CHARACTERS = 4000

Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="The address to listen at; beyond this machine the store needs keys."
    ),
]
Port = Annotated[int, typer.Option(metavar="NUMBER", min=0, max=65535, help="The port; 0 for a free one.")]


@serve.callback()
def _serve(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        sessions()


@serve.command()
def sessions(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    uri: Uri = None,
    database: Database = None,
    require_keys: Annotated[
        bool, typer.Option("--require-keys", help="Need a key even while the store has none.")
    ] = False,
    rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="The requests of a key in a time, such as 100/minute.")
    ] = None,
    integrator: Annotated[
        IntegratorName | None,
        typer.Option(help="The maker of insights; else MONGOSTORE_INTEGRATOR.", show_default="keywords"),
    ] = None,
    max_body: Annotated[
        int | None,
        typer.Option(metavar="BYTES", min=1, help="The largest body that is read.", show_default="17825792"),
    ] = None,
) -> None:
    """Serve sessions, their participants and integrations.

    Without --uri all data is in this process and lost when it ends. On
    127.0.0.1 the page /docs shows the operations. Ends on Ctrl-C or SIGTERM,
    when the requests under way are answered.

    Example:
      mongostore serve sessions --uri mongodb://localhost:27017 --port 8080
    """
    log_requests()
    asyncio.run(_serve_sessions(host, port, uri, database, require_keys, rate, integrator, max_body))


async def _serve_sessions(
    host: str,
    port: int,
    uri: str | None,
    database: str | None,
    require_keys: bool,
    rate: str | None,
    integrator: IntegratorName | None,
    max_body: int | None,
) -> None:
    # Imported here, since all other commands do without these packages.
    try:
        from mongostore.servers import runner
        from mongostore.servers.access import is_loopback
        from mongostore.servers.middleware import MAX_BODY_BYTES
        from mongostore.servers.sessions import create_app
    except ImportError:
        raise ConfigurationError("the server needs more packages: pip install 'mongostore[api]'") from None
    async with AsyncMongoStore(target_of(uri), database) as store:
        has_keys = await store.keys.count() > 0
        app = create_app(
            store,
            integrator=integrator or Settings().integrator,
            # Deleting all keys before the first request must not open the server to everyone.
            require_keys=require_keys or has_keys or not is_loopback(host),
            rate_limit=rate,
            local=is_loopback(host),
            docs=is_loopback(host),
            max_body_bytes=max_body or MAX_BODY_BYTES,
        )
        await runner.run_server(
            app, store.engine, has_keys=has_keys, host=host, port=port, print_line=print_line
        )


@serve.command()
def threadmem(
    host: Host = "127.0.0.1", port: Port = 8090, uri: Uri = None, database: Database = None
) -> None:
    """Serve role threads, as threadmem's own server does.

    Callers need a token: of the hub at AGENTSEA_HUB_URL, or a key that
    `mongostore keys create NAME --owner ID` has made. Without --uri all data is
    in this process and lost when it ends, and a key is made at once.

    Example:
      mongostore serve threadmem --uri mongodb://localhost:27017
    """
    log_requests()
    asyncio.run(_serve_threadmem(host, port, uri, database))


async def _serve_threadmem(host: str, port: int, uri: str | None, database: str | None) -> None:
    try:
        from mongostore.adapters.threadmem.env import HUB_API_KEY_ENV, HUB_URL_ENV
        from mongostore.servers import runner
        from mongostore.servers.access import is_loopback
        from mongostore.servers.threadmem import create_app
    except ImportError:
        raise ConfigurationError(
            "the server needs more packages: pip install 'mongostore[api,threadmem]'"
        ) from None
    with MongoStore(target_of(uri), database) as store:
        engine, has_keys = store.core.engine, store.keys.count() > 0 or HUB_URL_ENV in os.environ
        if not has_keys and is_loopback(host):
            if engine.is_shared:
                print_line(
                    f"no token is valid: set {HUB_URL_ENV}, or run `mongostore keys create NAME --owner ID`"
                )
            else:
                # No other process can make one in this one.
                token = store.keys.create(name="this process", owner_id="me").token
                print_line(f"clients need {HUB_API_KEY_ENV}={token}")
        app = create_app(store=store, docs=is_loopback(host))
        await runner.run_server(app, engine, has_keys=has_keys, host=host, port=port, print_line=print_line)


class _LineFormatter(logging.Formatter):
    """Makes one line of a record, without the control characters that callers put into ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return plain(super().format(record)[:_LOGGED_CHARACTERS]).plain


def log_requests() -> None:
    """Log the requests and errors of a server on stderr, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter("%(message)s"))
    logging.getLogger("mongostore").addHandler(handler)
    for name in ("mongostore.access", "mongostore.servers"):
        logging.getLogger(name).setLevel(logging.INFO)


def print_line(text: str) -> None:
    """Print one line on stderr."""
    err.print(plain(text), soft_wrap=True)
