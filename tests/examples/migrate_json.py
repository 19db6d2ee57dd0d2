"""Moves a folder of JSON dumps into the store: run it as often as you like, everything is stored once."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from mongostore import ConflictError, InvalidValueError, Message, MongoStore


def migrate(folder: Path) -> int:
    failures = 0
    with MongoStore() as store:  # MONGOSTORE_URI
        for file in sorted(folder.glob("*.json")):
            dump = json.loads(file.read_text(encoding="utf-8"))
            began = datetime.fromtimestamp(dump["created"], UTC)
            session = store.sessions.ensure(
                dump["id"], user_id=dump["user"], name=dump["title"], created_at=began
            )
            try:
                messages = [
                    Message.from_openai(line, id=f"{session.id}-{number}", created_at=began)
                    for number, line in enumerate(dump["messages"])
                ]
                for start in range(0, len(messages), 1000):
                    store.sessions.messages.append_many(session.id, messages[start : start + 1000])
            except (InvalidValueError, ConflictError) as error:
                print(f"{file.name}: {error}", file=sys.stderr)
                failures += 1
        print(f"{store.sessions.count()} sessions, {failures} files refused")
    return failures


if __name__ == "__main__":
    sys.exit(min(migrate(Path(sys.argv[1])), 1))
