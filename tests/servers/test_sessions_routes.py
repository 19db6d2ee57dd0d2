"""What no route takes, asked of each: it is refused as a problem that names what is right."""

from __future__ import annotations

import re
from typing import Any

from mongostore import AsyncMongoStore, Message
from mongostore.servers.sessions import create_app
from tests.servers.parts import client

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
NAMES = {"namespace": "acme", "activity_session": "s1", "participant": "ada", "message": "m1"}
MOST = 1000
# The media type and the body that no operation with a body takes.
BODIES = (
    (415, "text/plain", b"{}"),
    (415, "application/x-www-form-urlencoded", b"a=b"),
    (415, "multipart/form-data; boundary=b", b"--b--"),
    (422, "application/json", b"{"),
    (422, "application/merge-patch+json; charset=utf-8", b"[]"),
    (413, "application/json", b" " * (MOST + 1)),
)


async def test_every_route_refuses_other_methods_and_bodies_as_problems() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        sessions = store.sessions.in_namespace("acme")
        await sessions.create("s1")
        await sessions.messages.append("s1", Message(id="m1", role="user"))
        app, asked = create_app(store, max_body_bytes=MOST), 0
        async with client(app) as asking:

            async def refuse(status: int, method: str, path: str, **parts: Any) -> Any:
                answer = await asking.request(method, path.format(**NAMES), **parts)
                received = answer.json()
                assert (answer.status_code, received["status"]) == (status, status), (method, path, parts)
                assert answer.headers["content-type"] == "application/problem+json"
                assert received["detail"]
                return answer

            paths = app.openapi()["paths"]
            for path, operations in paths.items():
                # An address may be one of several paths: "stream" can be the id of a message.
                methods = {
                    method.upper()
                    for other, methods in paths.items()
                    if re.fullmatch(re.sub(r"{\w+}", "[^/]+", other), path)
                    for method in methods
                }
                for method in sorted(METHODS - methods):
                    answer = await refuse(405, method, path)
                    answered = methods | {"HEAD"} if "GET" in methods else methods
                    assert {*answer.headers["allow"].split(", ")} == answered
                for method in sorted(one for one in operations if "requestBody" in operations[one]):
                    declared = {*operations[method]["responses"]}
                    for status, media_type, body in BODIES:
                        headers = {"Content-Type": media_type}
                        await refuse(status, method.upper(), path, content=body, headers=headers)
                        assert str(status) in declared
                        asked += 1
        assert asked == 6 * len(BODIES)
        assert (await sessions.get("s1")).revision == 0
