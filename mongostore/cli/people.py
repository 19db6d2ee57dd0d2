"""`mongostore people`: one person over everything, shown, exported and erased."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer
from rich import box
from rich.table import Table

from mongostore.cli.terminal import (
    AsJson,
    Database,
    DryRun,
    Uri,
    Yes,
    confirm,
    elapsed_time,
    fail_after,
    out,
    plain,
    print_counts,
    print_json_line,
    record_counter,
    run_on_store,
    wants_json,
    warn,
)
from mongostore.errors import NotFoundError
from mongostore.importers.whole_files import whole_file
from mongostore.models import ErasureMode, ErasureReport, Person, PersonRecord
from mongostore.store import AsyncMongoStore

people: Final = typer.Typer(
    no_args_is_help=True, help="Show, give out or erase all that is stored about one person."
)

FindPerson: TypeAlias = Callable[[AsyncMongoStore], Awaitable[Person]]
Name = Annotated[str, typer.Argument(metavar="NAME", help="An id, identifier or address of the person.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", metavar="NAME", help="Only sessions of this namespace; may be repeated."),
]
Organization = Annotated[
    str | None,
    typer.Option("--organization", metavar="ID", help="Only rooms and identities of this organization."),
]


@people.command()
def show(
    name: Name,
    namespaces: Namespaces = None,
    organization: Organization = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show a person's names, and how much is stored about them.

    Names are linked by users and identities.

    Example:
      mongostore people show ada
    """
    person = run_on_store(_finder(name, namespaces, organization), uri, database)
    if wants_json(as_json):
        print_json_line(person.model_dump())
        return
    out.print(plain(", ".join(person.names)))
    print_counts("collection", "documents", person.counts)


@people.command()
def export(
    name: Name,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="The zip to write."),
    ],
    namespaces: Namespaces = None,
    organization: Organization = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write all that is stored about a person into a zip.

    It has a folder for each collection, with one file of JSON a record, and
    the files that belong to the person, each with the number of the record
    that has its `file_key`. It leaves out what others said.

    Example:
      mongostore people export ada -o ada.zip
    """
    find = _finder(name, namespaces, organization)
    counts = run_on_store(lambda store: _export(store, find, output), uri, database)
    if wants_json(as_json):
        print_json_line({"file": str(output), "records": counts})
        return
    print_counts("collection", "records", counts)


@people.command()
def erase(
    name: Name,
    mode: Annotated[
        ErasureMode, typer.Option(metavar="MODE", help="delete, or anonymize what is shared with others.")
    ] = "delete",
    dry_run: DryRun = False,
    yes: Yes = False,
    namespaces: Namespaces = None,
    organization: Organization = None,
    uri: Uri = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person: what is theirs, and what they said among others.

    An erasure that is cut short goes on when it is run again. The exit code
    is 1 if something could not be erased.

    Examples:
      mongostore people erase ada --dry-run
      mongostore people erase ada --mode anonymize --yes
    """
    find = _finder(name, namespaces, organization)
    report = run_on_store(lambda store: _erase(store, find, mode, dry_run, yes), uri, database)
    if wants_json(as_json):
        print_json_line(report.model_dump())
    else:
        gone, changed = ("would go", "would be anonymized") if dry_run else ("deleted", "anonymized")
        table = Table("collection", box=box.SIMPLE)
        for title in (gone, changed):
            table.add_column(title, justify="right")
        for line in report.lines:
            table.add_row(plain(line.collection), f"{line.deleted:,}", f"{line.anonymized:,}")
        out.print(table)
    fail_after(report.errors)


def _finder(name: str, namespaces: list[str] | None, organization: str | None) -> FindPerson:
    """Return a function that finds the person of a command in a store."""
    return lambda store: store.people.get(name, namespaces=namespaces or None, organization_id=organization)


async def _erase(
    store: AsyncMongoStore, find: FindPerson, mode: ErasureMode, dry_run: bool, yes: bool
) -> ErasureReport:
    person = await find(store)
    if not dry_run and not yes:
        with elapsed_time("counting"):
            planned = (await store.people.erase(person, mode=mode, dry_run=True)).lines
        deleted = ", ".join(f"{line.deleted:,} {line.collection}" for line in planned if line.deleted)
        changed = ", ".join(f"{line.anonymized:,} {line.collection}" for line in planned if line.anonymized)
        also = f"; anonymize {changed}" if changed else ""
        confirm(f"Erase {', '.join(person.names)} (delete {deleted or 'nothing'}{also})?")
    with elapsed_time("counting" if dry_run else "erasing"):
        return await store.people.erase(person, mode=mode, dry_run=dry_run)


async def _export(store: AsyncMongoStore, find: FindPerson, output: Path) -> dict[str, int]:
    person = await find(store)
    number, hidden, written = 0, 0, set[str]()
    counts: Counter[str] = Counter()
    with (
        whole_file(output) as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        record_counter(lambda: number),
    ):
        async for record in store.people.export(person):
            number += 1
            # A zip takes one member at a time, so that each record is one.
            member = f"{record.collection}/{number:08}.json"
            archive.writestr(member, _to_json(record))
            counts[record.collection] += 1
            is_session = record.collection == "sessions" and record.relation == "owner"
            hidden += is_session and record.value["deleted_at"] is not None
            key = record.value.get("file_key")
            # An element of theirs may have its file in a folder of theirs.
            if key is not None and key not in written:
                written.add(key)
                counts["files"] += await _write_file(store, archive, key, f"files/{number:08}")
    if hidden:
        warn(f"{hidden} softly deleted sessions are without their messages: undelete them to export these")
    return {collection: count for collection, count in counts.items() if count}


def _to_json(record: PersonRecord) -> bytes:
    """Return a record in UTF-8, or in ASCII where a text is no UTF-8."""
    members = record.model_dump()
    try:
        return json.dumps(members, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(members, indent=1).encode()


async def _write_file(store: AsyncMongoStore, archive: zipfile.ZipFile, key: str, name: str) -> bool:
    """Write a file into an archive, and return whether there is one."""
    read = None
    while (file := await store.threads.files.find(key)) is not None and file != read:
        read = file
        # Not into the archive at once: it may be replaced while it is read.
        with tempfile.TemporaryFile() as copy, suppress(NotFoundError):
            async for chunk in store.threads.files.iter_content(key):
                copy.write(chunk)
            copy.seek(0)
            with archive.open(name, "w", force_zip64=True) as member:
                shutil.copyfileobj(copy, member)
            return True
    if file is not None:
        warn(f"file {key!r}: lacks a part")
    return False
