"""Uses an adapter before a fork, in the child and after it. Arguments: URI, database."""

from __future__ import annotations

import os
import sys
import threading

from mongostore.adapters.director import MongoDB


def write(db: MongoDB, author: str) -> None:
    db.add_or_update_msg_to_conv("s", "c", author, "output", [], [], [{"author": author}])


uri, database = sys.argv[1:]
old = MongoDB(uri, database)
old.create_session("s")
write(old, "parent")
if (child := os.fork()) == 0:
    new = MongoDB(uri, database)
    writers = [
        threading.Thread(target=write, args=(db, f"child {n}")) for n, db in enumerate((old, new, old, new))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert old.get_conversations("s")[0]["msg_id"] == "parent"
    # The interpreter's end is part of the claim, so no os._exit.
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
write(old, "parent again")
assert MongoDB(uri, database).get_conversations("s")[-1]["msg_id"] == "parent again"
