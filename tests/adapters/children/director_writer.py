"""Creates a session and streams messages into it, as other processes do. Arguments: URI, database, name."""

from __future__ import annotations

import sys

from mongostore.adapters.director import MongoDB

uri, database, name = sys.argv[1:]
for step in range(20):
    # One adapter a request, as in Director.
    db = MongoDB(uri, database)
    db.create_session("s", collection_id=name)
    db.add_or_update_msg_to_conv("s", "c", f"shared {step % 10}", "output", [], [], [{"by": name}])
    db.add_or_update_msg_to_conv("s", "c", f"{name} {step}", "output", [], [], [{"step": step}])
