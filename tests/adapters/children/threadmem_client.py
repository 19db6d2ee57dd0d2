"""The real threadmem as the client of a server of ours. Arguments: its address, a token."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import requests
from threadmem import RoleMessage, RoleThread, V1Role

url, token = sys.argv[1:]
os.environ["AGENTSEA_HUB_API_KEY"] = token
role = V1Role(name="boss", user_id="u", user_name="U", icon="i")


def is_refused(status: int, call: Callable[[], object]) -> None:
    try:
        call()
    except requests.HTTPError as error:
        answered = error.response.status_code
    else:
        answered = 200
    assert answered == status, answered


# It asks for a thread before it makes one, and takes no for an answer.
is_refused(404, lambda: RoleThread(remote=url))
made = requests.post(
    f"{url}/v1/rolethreads",
    json={"name": "made", "metadata": {"k": 1}},
    headers={"Authorization": f"Bearer {token}"},
    timeout=60,
)
made.raise_for_status()

[thread] = RoleThread.find(remote=url)
assert (thread.id, thread.name, thread.metadata) == (made.json()["id"], "made", {"k": 1})
thread.post("user", "hi", images=["data:image/png;base64,AAAA", "https://x/y"])
assert [message.text for message in thread.messages()] == ["hi"]
assert thread.messages()[0].images == ["data:image/png;base64,AAAA", "https://x/y"]
thread.add_msg(RoleMessage("assistant", "answer", private=True, metadata={"k": 1}))
assert thread.messages()[-1].text == "answer"
assert (thread.messages()[-1].private, thread.messages()[-1].metadata) == (True, {"k": 1})

for name, public in (("renamed", True), ("again", False)):
    thread.name, thread._public = name, public
    thread.save()
    thread.refresh()
    assert (thread.name, thread.public) == (name, public)

thread.add_role(role)
[found] = RoleThread.find(remote=url)
assert found.role_mapping == {"boss": role}
is_refused(409, lambda: thread.add_role(role))
# It sends no body, without which nobody can tell which one.
is_refused(422, lambda: found.remove_role("boss"))

thread.delete()
assert RoleThread.find(remote=url) == []
is_refused(404, thread.refresh)
