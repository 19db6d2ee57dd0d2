"""`mongostore keys`: create, list and revoke the API keys of the servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table

from mongostore.cli.terminal import Database, Uri, fail, out, plain, print_json, run_on_store, warn
from mongostore.models import ApiKey
from mongostore.models.keys import ALL_NAMESPACES
from mongostore.store import AsyncMongoStore

_PAGE = 1000

keys: Final = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of the servers.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The purpose of the key.")],
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", metavar="NAME", help="A namespace that it may use; may be repeated."),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="The key may use all namespaces.")] = False,
    owner: Annotated[
        str | None, typer.Option(metavar="ID", help="The user whose role threads it may use.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=36500, help="The number of days that it is valid.")
    ] = None,
    uri: Uri = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Create a key and print its token, which is not shown again.

    Only a hash of the token is stored: keep the token secret. The server of
    sessions asks for namespaces, that of role threads for an owner.

    Example:
      mongostore keys create "billing service" --namespace acme --days 90
    """
    if admin and namespaces:
        raise typer.BadParameter("--admin is for all namespaces: leave --namespace out")
    if not (admin or namespaces or owner):
        raise typer.BadParameter("the key would allow nothing: set --namespace, --admin or --owner")
    members: dict[str, Any] = {
        "name": name,
        "namespaces": [ALL_NAMESPACES] if admin else namespaces or [],
        "owner_id": owner,
        "expires_at": None if days is None else datetime.now(UTC) + timedelta(days=days),
    }
    key, lasts = run_on_store(lambda store: _create(store, members), uri, database)
    if not lasts:
        warn("the embedded engine has lost this key already: name a server with --uri")
    if as_json:
        print_json({**_members(key), "token": key.token})
    else:
        out.print(plain(key.token or ""), soft_wrap=True)


@keys.command("list")
def list_(uri: Uri = None, database: Database = None, as_json: Json = False) -> None:
    """List the keys, the oldest first, without their tokens.

    Expired keys are listed too, until they are revoked.

    Example:
      mongostore keys list --uri mongodb://localhost:27017
    """
    found = run_on_store(_list, uri, database)
    if as_json:
        print_json([_members(key) for key in found])
        return
    if not found:
        out.print("No keys.")
        return
    table = Table("id", "name", "namespaces", "owner", "until", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = table.columns[-1].no_wrap = True
    for key in found:
        table.add_row(
            key.id,
            plain(key.name),
            plain(", ".join(key.namespaces)),
            plain(key.owner_id or ""),
            _format_expiry(key),
        )
    out.print(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the key, as `list` shows it.")],
    uri: Uri = None,
    database: Database = None,
) -> None:
    """Revoke a key: its token is not valid any more.

    The exit code is 1 when there is no such key.

    Example:
      mongostore keys revoke 0123456789abcdef0123456789abcdef
    """
    if not run_on_store(lambda store: store.keys.delete(key_id), uri, database):
        fail(f"no key has the id {key_id!r}: `mongostore keys list` shows those there are")


async def _create(store: AsyncMongoStore, members: dict[str, Any]) -> tuple[ApiKey, bool]:
    return await store.keys.create(**members), store.engine.is_shared


async def _list(store: AsyncMongoStore) -> list[ApiKey]:
    page = await store.keys.list(limit=_PAGE)
    found, unreadable = page.items, page.errors
    while page.next_cursor is not None:
        page = await store.keys.list(limit=_PAGE, cursor=page.next_cursor)
        found += page.items
        unreadable += page.errors
    for error in unreadable:
        warn(str(error))
    return found


def _members(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(mode="json")


def _format_expiry(key: ApiKey) -> str:
    if key.expires_at is None:
        return ""
    return f"{key.expires_at:%Y-%m-%d}" if key.expires_at > datetime.now(UTC) else "expired"
