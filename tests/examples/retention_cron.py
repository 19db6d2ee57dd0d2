"""Run every night from cron on three machines: one of them deletes what was idle for 90 days."""

import sys
from datetime import timedelta

from mongostore import ConflictError, MongoStore

IDLE = timedelta(days=90)


def plan(store: MongoStore) -> None:
    for namespace in store.sessions.namespaces.iter():
        report = store.retention.prune(idle=IDLE, namespaces=[namespace], dry_run=True)
        print(f"{namespace}: {report.sessions} sessions idle since {report.idle_since}")


def prune(store: MongoStore) -> None:
    try:
        with store.leases.hold("retention", seconds=60):
            report = store.retention.prune(idle=IDLE, houses=["sessions", "threads"])
    except ConflictError:
        print("another machine is doing it")
        return
    print(f"deleted {report.sessions} sessions and {report.threads} threads")
    for error in report.errors:
        print("left, because it cannot be read:", error, file=sys.stderr)


if __name__ == "__main__":
    with MongoStore() as store:  # MONGOSTORE_URI
        plan(store) if "--plan" in sys.argv else prune(store)
