"""Answers two letters: "what do you know about me" and "forget me"."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mongostore import AsyncMongoStore, ErasureMode


async def export(store: AsyncMongoStore, name: str, file: Path) -> None:
    person = await store.people.get(name)  # "ada", her mail address or her telephone number
    with file.open("w", encoding="utf-8") as lines:
        async for record in store.people.export(person):
            lines.write(record.model_dump_json() + "\n")
    print(f"{person.names}: {sum(person.counts.values())} documents in {file}")


async def erase(store: AsyncMongoStore, name: str, mode: ErasureMode, *, sure: bool) -> None:
    person = await store.people.get(name)
    report = await store.people.erase(person, mode=mode, dry_run=not sure)
    for line in report.lines:
        print(f"{line.collection:20} {line.deleted:6} deleted {line.anonymized:6} anonymized")
    print("done" if sure else "nothing was changed: repeat it with --sure")


async def main(command: str, name: str, *options: str) -> None:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        if command == "export":
            await export(store, name, Path(f"{name}.jsonl"))
        else:
            await erase(
                store, name, "anonymize" if "--keep" in options else "delete", sure="--sure" in options
            )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
