"""The schemas of threadmem's REST interface, as its clients and servers write them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictBool, model_validator


class V1Role(BaseModel):
    """The speaker in a role of a thread."""

    name: str
    user_id: str
    user_name: str
    icon: str
    description: str | None = None


class V1DeleteRole(BaseModel):
    """The name of a role that is to go."""

    name: str


class V1RoleMessage(BaseModel):
    """A message; `created` is in seconds since 1970, `images` are `data:` or `http(s):` URLs."""

    id: str
    role: str
    text: str
    images: list[str] = []
    private: bool | None = None
    metadata: dict[str, Any] | None = None
    created: float
    thread_id: str | None = None


class PostMessageModel(BaseModel):
    """A message that is to be posted; a `V1RoleMessage`, whose `text` is the `msg`, will do, too."""

    role: str
    msg: str
    # Each may become a file.
    images: list[str] = Field(default=[], max_length=1000)
    private: StrictBool | None = False
    metadata: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, data: Any) -> Any:
        if isinstance(data, dict) and "msg" not in data and "text" in data:
            return {**data, "msg": data["text"]}
        return data


class V1RoleThread(BaseModel):
    """A thread with its messages; `created` and `updated` are in seconds since 1970."""

    owner_id: str | None = None
    public: bool
    name: str | None = None
    metadata: dict[str, Any] | None = None
    id: str
    messages: list[V1RoleMessage]
    role_mapping: dict[str, V1Role] = {}
    version: str | None = None
    created: float
    updated: float
    remote: str | None = None


class V1RoleThreads(BaseModel):
    """The threads of a user, or a page of them; with a `next_cursor` another page follows."""

    threads: list[V1RoleThread]
    next_cursor: str | None = None


class V1CreateRoleThread(BaseModel):
    """A thread that is to be made, with a generated id by default."""

    public: StrictBool = False
    name: str | None = None
    metadata: dict[str, Any] | None = None
    # Fit to stand in a path.
    id: str | None = Field(default=None, max_length=128, pattern="^[A-Za-z0-9_-][A-Za-z0-9_.~-]*$")


class V1UpdateRoleThread(BaseModel):
    """The new members of a thread; without a name or metadata, or with empty ones, these stay as they are."""

    public: StrictBool
    name: str | None = None
    metadata: dict[str, Any] | None = None


class V1UserProfile(BaseModel):
    """The sender of a request, as the hub knows them."""

    email: str | None = None
    display_name: str | None = None
    handle: str | None = None
    picture: str | None = None
    created: int | None = None
    updated: int | None = None
    token: str | None = Field(default=None, repr=False)
