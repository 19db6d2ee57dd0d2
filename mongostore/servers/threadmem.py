"""Role threads over HTTP: the REST interface of threadmem's server."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import chain
from typing import Annotated, Any, Final, TypeVar

import requests
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, Response, StreamingResponse

from mongostore.adapters.threadmem import RoleThread, V1Role, V1RoleThread, V1RoleThreads
from mongostore.adapters.threadmem.env import HUB_URL_ENV
from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.adapters.threadmem.http import Bearer
from mongostore.adapters.threadmem.img import is_url
from mongostore.adapters.threadmem.server.models import (
    PostMessageModel,
    V1CreateRoleThread,
    V1DeleteRole,
    V1UpdateRoleThread,
    V1UserProfile,
)
from mongostore.errors import InvalidValueError
from mongostore.servers.access import caller_of
from mongostore.servers.concurrency import CallerSlots
from mongostore.servers.docs import add_docs_route
from mongostore.servers.error_responses import ProblemError, install_error_handlers, problem_responses
from mongostore.servers.middleware import add_middleware
from mongostore.sync import MongoStore

# Images come inside of JSON, in base64.
MAX_BODY_BYTES = 24 * 1024 * 1024
# Members of a thread's metadata.
MAX_METADATA = 1000
# Threads of a page, which ends before them once it has so many bytes.
MAX_PAGE = 100
PAGE_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 64 * 1024
_JSON = "application/json"
# Seconds to connect to the hub, and to wait for its answer.
_HUB_TIMEOUT = (5, 10)
_HUB_THREADS = 8
# Questions of one address that ask or wait; one more is answered with 429.
_HUB_WAITING = 64
_OWN_TOKENS = "mgs_"

_bearer = HTTPBearer(
    scheme_name="token",
    description="A token of the hub, or one that `mongostore keys create NAME --owner WHO` has made.",
    auto_error=False,
)


class _Answer(JSONResponse):
    def render(self, content: Any) -> bytes:
        """Return JSON in ASCII, which holds even texts that are no UTF-8; what is no number in it is null."""
        return _encode(content)


def _encode(content: Any) -> bytes:
    try:
        return json.dumps(content, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_to_json_numbers(content), allow_nan=False).encode()


def _to_json_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _to_json_numbers(item) for key, item in value.items()}
    return [_to_json_numbers(item) for item in value] if isinstance(value, list) else value


class _Route(APIRoute):
    """A route that learns who asks before it parses what they say, which may take 20 times its size."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def answer_owner(request: Request) -> Response:
            request.state.owner = await _owner_of(request, await _bearer(request))
            return await answer(request)

        return answer_owner


router: Final = APIRouter(
    prefix="/v1/rolethreads",
    tags=["Role threads"],
    dependencies=[Security(_bearer)],
    responses=problem_responses(400, 401, 408, 413, 415, 422, 429, 503),
    route_class=_Route,
)


def _threads(request: Request) -> type[RoleThread]:
    threads: type[RoleThread] = request.app.state.threads
    return threads


Threads = Annotated[type[RoleThread], Depends(_threads)]


async def _owner_of(request: Request, credentials: HTTPAuthorizationCredentials | None) -> str:
    """Return the owner that a request's token speaks for: by a key of ours, or by the hub."""
    if credentials is None:
        raise _refusal("Bearer")
    token = credentials.credentials
    if token.startswith(_OWN_TOKENS):
        key = await run_in_threadpool(_threads(request).storage().store.keys.verify, token)
        owner = None if key is None else key.owner_id
    else:
        # In threads of its own, and few of one caller: a slow hub must not delay what needs none.
        slots: CallerSlots = request.app.state.hub_slots
        async with slots.hold(caller_of(request.scope)):
            owner = await to_thread.run_sync(_ask_hub, token, limiter=request.app.state.hub_threads)
    # No caller owns a thread without an owner.
    if not owner:
        raise _refusal('Bearer error="invalid_token"')
    return owner


def _current_owner(request: Request) -> str:
    owner: str = request.state.owner
    return owner


Owner = Annotated[str, Depends(_current_owner)]


def _refusal(challenge: str) -> ProblemError:
    return ProblemError(401, "A good token is needed here", headers={"WWW-Authenticate": challenge})


def _ask_hub(token: str) -> str | None:
    hub = os.environ.get(HUB_URL_ENV)
    if not hub:
        return None
    try:
        answer = requests.get(
            f"{hub.rstrip('/')}/v1/users/me", auth=Bearer(token), timeout=_HUB_TIMEOUT, allow_redirects=False
        )
    except requests.RequestException:
        raise ProblemError(503, "The hub does not answer") from None
    if answer.status_code >= 500:
        raise ProblemError(503, "The hub does not answer")
    try:
        return V1UserProfile.model_validate(answer.json()).email if answer.status_code == 200 else None
    # Whatever it has said instead of a profile.
    except (ValueError, RecursionError):
        return None


def _find_owned(threads: Threads, owner: Owner, id: str) -> RoleThread:
    """Return a thread of the caller."""
    found = threads.find(id=id, owner_id=owner)
    if not found:
        raise ProblemError(404, "Thread not found")
    return found[0]


Owned = Annotated[RoleThread, Depends(_find_owned)]


Body = TypeVar("Body", bound=BaseModel)
Update = TypeVar("Update", V1CreateRoleThread, V1UpdateRoleThread)


def _check_plain(body: Body) -> Body:
    """Return what a request says if JSON in UTF-8 can say it; those who read requests let more pass."""
    try:
        json.dumps(body.model_dump(), allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise PydanticCustomError("plain", "There is a number or a text that is none") from None
    return body


def _check_small(update: Update) -> Update:
    """Return what a thread is to be if its metadata, whose members are stored one by one, are few."""
    if len(update.metadata or {}) > MAX_METADATA:
        raise PydanticCustomError("small", f"Metadata have at most {MAX_METADATA:,} members")
    return update


def _to_public(model: BaseModel) -> _Answer:
    return _Answer(model.model_dump())


def _list_json(threads: Iterable[tuple[RoleThread, str]], limit: int | None) -> Iterator[bytes]:
    """Yield the JSON of threads, each of which comes with the cursor of those that follow it."""
    yield b'{"threads": ['
    size, cursor = 0, None
    for number, (thread, next_cursor) in enumerate(threads):
        if limit is not None and (number == limit or size > PAGE_BYTES):
            yield b'], "next_cursor": %b}' % _encode(cursor)
            return
        if number:
            yield b", "
        for part in _thread_json(thread):
            size += len(part)
            yield part
        cursor = next_cursor
    yield b"]}"


def _thread_json(thread: RoleThread) -> Iterator[bytes]:
    """Yield the JSON of a thread, a message at a time."""
    head = thread.head_to_v1().model_dump(exclude={"messages"})
    yield _encode(head)[:-1] + b', "messages": ['
    for number, message in enumerate(thread.stored_messages()):
        yield (b", " if number else b"") + _encode(message.to_v1().model_dump())
    yield b"]}"


def _stream(parts: Iterator[bytes]) -> Response:
    """Return an answer of JSON that is made while it is sent, unless it is short.

    Errors of its beginning are raised at once, and have a status of their own.
    """
    pieces = _join_parts(parts)
    first, second = next(pieces), next(pieces, None)
    if second is None:
        return Response(first, media_type=_JSON)
    return StreamingResponse(chain((first, second), pieces), media_type=_JSON)


def _join_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


@router.post("", response_model=V1RoleThread, responses=problem_responses(409))
def create_role_thread(
    threads: Threads,
    owner: Owner,
    data: Annotated[V1CreateRoleThread, AfterValidator(_check_plain), AfterValidator(_check_small)],
) -> Any:
    """Make a thread of the caller, with a generated id by default."""
    thread = threads.create(
        data.id, owner_id=owner, public=data.public, name=data.name, metadata=data.metadata
    )
    return _to_public(thread.to_v1())


class PageQuery(BaseModel, extra="forbid"):
    """The part of a list that is asked for; without it the list is whole, as threadmem's client expects."""

    limit: int | None = Field(None, ge=1, le=MAX_PAGE, description="The size of a page.")
    cursor: str | None = Field(None, description="The `next_cursor` of the page before.")


@router.get("", response_model=V1RoleThreads)
def get_role_threads(threads: Threads, owner: Owner, page: Annotated[PageQuery, Query()]) -> Any:
    """Return the caller's threads with their messages, the oldest first.

    Without a limit or a cursor these are all threads. A page ends before its limit when its threads are
    large.
    """
    limit, cursor = page.limit, page.cursor
    size = MAX_PAGE if limit is None else limit
    is_page = limit is not None or cursor is not None
    try:
        # One more than the page tells whether another follows.
        return _stream(_list_json(threads.walk(owner, size + 1, cursor), size if is_page else None))
    except InvalidValueError as error:
        if error.path == "cursor":
            raise ProblemError(400, "The cursor is not one that a page gave") from None
        raise


@router.get("/{id}", response_model=V1RoleThread, responses=problem_responses(404))
def get_role_thread(thread: Owned) -> Any:
    """Return a thread of the caller with its messages."""
    return _stream(_thread_json(thread))


@router.put("/{id}", response_model=V1RoleThread, responses=problem_responses(404))
def update_role_thread(
    thread: Owned,
    data: Annotated[V1UpdateRoleThread, AfterValidator(_check_plain), AfterValidator(_check_small)],
) -> Any:
    """Change whether a thread is public, and its name and metadata if the request has them."""
    thread.update(data)
    return _stream(_thread_json(thread))


@router.delete("/{id}", responses=problem_responses(404))
def delete_role_thread(thread: Owned) -> dict[str, str]:
    """Delete a thread for good, with its messages and their images."""
    thread.delete()
    return {"message": "Thread deleted successfully"}


@router.post("/{id}/msgs", responses=problem_responses(404))
def post_role_thread_msg(
    thread: Owned, data: Annotated[PostMessageModel, AfterValidator(_check_plain)]
) -> None:
    """Append a message; its images are `data:` or `http(s):` URLs."""
    if not all(is_url(image) for image in data.images):
        raise ProblemError(422, "Images are data: or http(s): URLs here")
    thread.post(data.role, data.msg, data.images, bool(data.private), data.metadata)


@router.post("/{id}/roles", responses=problem_responses(404, 409))
def add_role_to_thread(thread: Owned, data: Annotated[V1Role, AfterValidator(_check_plain)]) -> None:
    """Add a role."""
    try:
        thread.add_role(data)
    except InvalidValueError:
        raise
    except ValueError:
        raise ProblemError(409, "There is a role of that name") from None


@router.delete("/{id}/roles", responses=problem_responses(404))
def remove_role_from_thread(thread: Owned, data: V1DeleteRole) -> None:
    """Remove a role."""
    if data.name not in thread.role_mapping:
        raise ProblemError(404, "There is no role of that name")
    thread.remove_role(data.name)


def create_app(
    uri: str | None = None,
    database: str | None = None,
    *,
    store: MongoStore | None = None,
    docs: bool = True,
) -> FastAPI:
    """Return threadmem's server, as an application of FastAPI.

    A caller needs a token: of the hub at `AGENTSEA_HUB_URL`, or a key of `mongostore keys create`
    with an owner. They see their own threads alone. `CORS_ORIGINS` lists the origins of web pages that may
    call it, all unless set.

    Args:
        uri: As for `MongoStore`; else `MONGOSTORE_URI`.
        database: Likewise.
        store: An open store to use instead; it stays its owner's to close.
        docs: Whether `/docs` and `/openapi.json` are shown.
    """
    app = FastAPI(
        title="Role threads",
        summary="The REST interface of threadmem's server, on MongoDB.",
        generate_unique_id_function=lambda route: route.name,
        openapi_url="/openapi.json" if docs else None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.threads = RoleThread.at(FileStorage(uri, database, store=store))
    app.state.hub_slots = CallerSlots(_HUB_THREADS, _HUB_THREADS // 2, _HUB_WAITING)
    app.state.hub_threads = CapacityLimiter(_HUB_THREADS)
    app.include_router(router)

    # Coroutines, which need none of the threads that other requests wait for.
    @app.get("/", tags=["Health"])
    async def root() -> dict[str, str]:
        """Say that a server is here."""
        return {"message": "Agent in the shell"}

    @app.get("/health", tags=["Health"])
    async def health() -> dict[str, str]:
        """Say that the server runs."""
        return {"status": "ok"}

    if docs:
        add_docs_route(app)
    install_error_handlers(app)
    origins = os.environ.get("CORS_ORIGINS", "*").split(",")
    app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    add_middleware(app, max_body_bytes=MAX_BODY_BYTES)
    return app
