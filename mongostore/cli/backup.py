"""`mongostore backup`: how to back up and restore a store."""

from __future__ import annotations

from mongostore.cli.terminal import out, plain

_WAYS = """\
Atlas: switch on Cloud Backup; nothing of mongostore is needed.

A replica set of your own, as it is at one moment:
  mongodump    --uri URI --oplog --gzip --archive=store.gz
  mongorestore --uri URI --oplogReplay --gzip --archive=store.gz

One store, each conversation as it is when its turn comes:
  mongostore export store.zip --uri URI
  mongostore import mongostore store.zip --uri URI

After a restore, before anybody reads:
  mongostore doctor --mend --uri URI
  mongostore people erase NAME --yes --uri URI   for each who was erased since
  mongostore prune --yes --uri URI               for what has expired since
"""


def backup() -> None:
    """Show how to back up and restore a store.

    A store is one MongoDB database. A backup copies all of its collections
    as they are at one moment: Atlas does so, and mongodump with --oplog. An
    archive of mongostore export has each conversation as it is when its turn
    comes; softly deleted sessions and API keys are not in it. A backup brings
    back who was erased after it was made.

    Example:
      mongostore backup
    """
    for line in _WAYS.splitlines():
        out.print(plain(line), soft_wrap=True)
