"""What a long role thread costs: each post, memory and reading, beside threadmem's own on SQLite.

threadmem needs an older FastAPI than we have, so it runs in an interpreter of its own, which
`THREADMEM_PYTHON` names.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from statistics import median
from uuid import uuid4

import psutil
from pymongo import MongoClient

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleThread, configure
from tests.bench.measurement import Row

POSTS = 10_000
WINDOW = 100
# Theirs takes as long for these as ours for all.
THEIRS = 400
IMAGE_BYTES = 50_000
# One in so many posts has an image, and one in so many of those a large one.
WITH_IMAGE, LARGE = 10, 50
TEXT = "x" * 500
CHILD = f"""
import base64, json, os, time
from threadmem import RoleThread
image = "data:image/png;base64," + base64.b64encode(os.urandom({IMAGE_BYTES})).decode()
thread, took = RoleThread(owner_id="ada"), []
for number in range({THEIRS}):
    began = time.perf_counter()
    thread.post("user", {TEXT!r}, images=[image] if number % {WITH_IMAGE} == 0 else [])
    took.append((time.perf_counter() - began) * 1e6)
print(json.dumps(took))
"""


async def rows(uri: str) -> AsyncIterator[Row]:
    """Yield what a conversation of 10,000 messages takes."""
    database = f"bench_{uuid4().hex[:12]}"
    with MongoStore(uri, database) as store:
        configure(store=store)
        process, took, memory = psutil.Process(), [], {}
        thread = RoleThread(owner_id="ada")
        for number in range(POSTS):
            images = _images(number)
            began = time.perf_counter()
            thread.post("user", TEXT, images=images)
            took.append((time.perf_counter() - began) * 1e6)
            if number in (POSTS // 10, POSTS - 1):
                gc.collect()
                memory[number] = process.memory_info().rss / 1024
        plain = [took[number] for number in range(POSTS) if number % WITH_IMAGE]
        first, last = median(plain[WINDOW : 2 * WINDOW]), median(plain[-WINDOW:])
        yield Row(f"post {POSTS:,} against post {2 * WINDOW}", last, first, 1.2)
        before, after = memory.values()
        yield Row("memory after 9,000 more posts", after, before, 16 * 1024, unit="KiB", compare="difference")
        if python := os.environ.get("THREADMEM_PYTHON"):
            theirs = _theirs(python)
            yield Row(
                f"post {THEIRS} against threadmem's on SQLite",
                median(plain[THEIRS - WINDOW : THEIRS]),
                median(theirs[-WINDOW:]),
                1,
            )
    with MongoClient[dict[str, object]](uri) as client:
        client.drop_database(database)


def _images(number: int) -> list[str]:
    if number % WITH_IMAGE:
        return []
    size = IMAGE_BYTES * 30 if number % (WITH_IMAGE * LARGE) == 0 else IMAGE_BYTES
    return ["data:image/png;base64," + base64.b64encode(random.randbytes(size)).decode()]


def _theirs(python: str) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="mongostore-bench-") as folder:
        environment = {**os.environ, "AGENTSEA_HOME": folder, "AGENTSEA_DB_DIR": folder}
        done = subprocess.run(
            [python, "-c", CHILD], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
    took: list[float] = json.loads(done.stdout)
    return took
