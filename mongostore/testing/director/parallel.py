"""Threads and event loops beside each other on a database of Director."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mongostore.testing.director.oracle import ROW
from mongostore.testing.director.parts import ids, say


class ParallelSuite:
    """Many writers at once find all that they have written, once and whole.

    Fixtures:
        db: The database, an empty one for each test.

    Attributes:
        steps: How often each thread writes while others delete what it writes.
    """

    steps = 15

    def test_parallel_threads_stream_into_one_session(self, db: Any) -> None:
        def stream(thread: int) -> None:
            for step in range(20):
                db.create_session("s", collection_id=str(thread))
                say(db, f"shared {step % 5}", content=[thread, step])
                say(db, f"{thread} {step}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(stream, range(8)))
        found = ids(db)
        assert len(found) == len(set(found)) == 5 + 8 * 20
        assert len(db.get_sessions()) == 1
        for thread in range(8):
            own = [msg_id for msg_id in found if msg_id.startswith(f"{thread} ")]
            assert own == [f"{thread} {step}" for step in range(20)]

    def test_writing_and_reading_stand_parallel_deletion(self, db: Any) -> None:
        # Large enough for a document of its own.
        context = {"reasoning": ["x" * 70_000]}

        def write(thread: int) -> None:
            for step in range(self.steps):
                say(db, f"{thread} {step}", content="x" * 3000)
                db.create_session("s")
                db.add_or_update_context_msg("s", context)

        def delete(_: int) -> None:
            while not done.wait(0.02):
                db.delete_session("s")
                db.delete_conversation("s")

        def read(_: int) -> None:
            while not done.is_set():
                rows = db.get_conversations("s")
                assert len(rows) == len({row["msg_id"] for row in rows})
                assert db.get_context_messages("s") in ({}, context)
                assert db.get_session("s").keys() in ({}.keys(), set(ROW))

        done = threading.Event()
        with ThreadPoolExecutor(8) as threads:
            others = [threads.submit(work, n) for n in range(2) for work in (delete, read)]
            writers = [threads.submit(write, n) for n in range(4)]
            try:
                for writer in writers:
                    writer.result()
            finally:
                done.set()
            for other in others:
                other.result()
        db.delete_session("s")
        assert (db.get_session("s"), db.get_conversations("s"), db.get_context_messages("s")) == ({}, [], {})

    def test_racing_creators_leave_one_whole_row(self, db: Any) -> None:
        for n in range(10):
            session_id = f"s{n}"
            say(db, session_id=session_id)
            start = threading.Barrier(4)

            def create(name: str, session_id: str = session_id, start: threading.Barrier = start) -> None:
                start.wait()
                db.create_session(session_id, name, name)

            with ThreadPoolExecutor(4) as threads:
                list(threads.map(create, "abcd"))
            row = db.get_session(session_id)
            assert row["video_id"] == row["collection_id"]

    def test_may_be_used_inside_running_loops(self, db: Any) -> None:
        def in_a_loop_of_its_own(name: str) -> None:
            async def use() -> None:
                say(db, name)
                await asyncio.sleep(0)
                assert name in ids(db)

            for _ in range(3):
                asyncio.run(use())

        in_a_loop_of_its_own("here")
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(in_a_loop_of_its_own, "abc"))
        assert sorted(ids(db)) == ["a", "b", "c", "here"]
