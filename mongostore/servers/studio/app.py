"""The studio as an application of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mongostore.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidDocumentError,
    MongoStoreError,
    NotFoundError,
    UnavailableError,
)
from mongostore.servers.error_responses import ProblemError, to_problem
from mongostore.servers.middleware import add_middleware
from mongostore.servers.studio import (
    deletion,
    documents,
    erasure,
    export,
    feedback,
    files,
    lists,
    live,
    overview,
    people,
    rooms,
    search,
    sessions,
    threads,
)
from mongostore.servers.studio.frame import Studio, bare_frame, describe_error, frame, page_response
from mongostore.servers.studio.pages import asset_response, assets_version
from mongostore.servers.studio.rows import KINDS
from mongostore.store import AsyncMongoStore

_MAX_BODY = 64 * 1024
_SMALL = 1024

router: Final = APIRouter()


def create_app(
    store: AsyncMongoStore | None = None, *, token: str | None = None, allow_erase: bool = False
) -> FastAPI:
    """Return the studio, to be served by itself or mounted in another application.

    Args:
        store: An open store, which stays its owner's to close; one that is not open is opened by the first
            request. Else the store that `MONGOSTORE_URI` and `MONGOSTORE_DATABASE` name.
        token: The token that opens it, on this machine alone; None where callers need keys.
        allow_erase: Whether people can be erased here, and conversations deleted for good.

    Raises:
        ConfigurationError: If a setting cannot work.
    """
    studio = Studio(store, token, allow_erase=allow_erase, counter=overview.Counter())
    app = FastAPI(
        title="Studio",
        version=version("mongostore"),
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_serve,
    )
    # The server ends the tails, which would last as long as a page is open.
    app.state.studio, app.state.end_streams = studio, studio.end_streams
    for kind in (HTTPException, RequestValidationError, MongoStoreError):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(GZipMiddleware, minimum_size=_SMALL)
    add_middleware(app, max_body_bytes=_MAX_BODY)
    for part in (overview, lists, search, people, feedback, files, live, export, documents):
        app.include_router(part.router)
    if allow_erase:
        app.include_router(erasure.router)
        app.include_router(deletion.for_good)
    for part in (deletion, sessions, threads, rooms):
        app.include_router(part.router)
    app.include_router(router)
    return app


@asynccontextmanager
async def _serve(app: FastAPI) -> AsyncIterator[None]:
    """Close the store with the application, if the studio has opened it."""
    studio: Studio = app.state.studio
    studio.begin()
    try:
        yield
    finally:
        await studio.close()


@router.get("/static/{hash}/{name:path}")
async def static(hash: str, name: str) -> Response:
    """Return a file that pages use."""
    found = asset_response(name) if hash == assets_version() else None
    if found is None:
        raise ProblemError(404)
    return found


@router.get("/open")
async def open_by_address(request: Request, token: str = "") -> Response:
    """Trade the token of the address for the cookie, and go on without it in the address."""
    studio = Studio.of(request)
    await studio.open()
    home = f"{request.scope.get('root_path', '')}/"
    # A redirect would still be the request of the page that linked here, and have no cookie.
    response = HTMLResponse(
        f'<!doctype html><title>studio</title><a href="{escape(home)}">Open the studio</a>'
    )
    response.headers["Refresh"] = f"0; url={home}"
    await studio.access.admit(request, token, response)
    return response


@router.post("/open")
async def open_by_key(request: Request) -> Response:
    """Trade a typed key for the cookie."""
    studio = Studio.of(request)
    studio.access.check_source(request)
    await studio.open()
    form = dict(
        part.partition("=")[::2] for part in (await request.body()).decode("ascii", "replace").split("&")
    )
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/", status_code=303)
    await studio.access.admit(request, form.get("key", ""), response)
    return response


async def _answer_error(request: Request, error: Exception) -> Response:
    """Answer an error as a page to those who ask for pages, as a problem to all others."""
    if "text/html" not in request.headers.get("accept", ""):
        return to_problem(request, error)
    studio, answer = Studio.of(request), to_problem(request, error)
    status = answer.status_code
    if status == 401:
        # The secret that was sent was wrong; where there was none, the page says all.
        wrong = error.detail if request.url.path.endswith("/open") and isinstance(error, ProblemError) else ""
        page = await page_response(
            request, "login.html", {}, status=401, needs_key=studio.access.needs_key, wrong=wrong
        )
        return _with_headers(page, answer)
    around = await _frame_of(request, studio, error)
    if around["deleted"] is not None:
        page = await page_response(request, "deleted_session.html", around, status=status)
        return _with_headers(page, answer)
    title, text = _words(error, status)
    unreadable = error if isinstance(error, InvalidDocumentError) else None
    # A form is sent below the page that has it, or leads to it.
    back = request.url.path.rpartition("/")[0] if request.method == "POST" and request.path_params else ""
    if back and status == 503:
        # A page that loads itself again would send the form again.
        text = "It is not known whether it was done: go back, and look."
    page = await page_response(
        request,
        "error.html",
        around,
        status=status,
        title=title,
        text=text,
        error_status=status,
        back=back,
        detail="" if unreadable is None else describe_error(unreadable),
        # A conversation that cannot be read can be deleted.
        unreadable=deletion.path_of(request) if unreadable and unreadable.kind in KINDS else "",
    )
    return _with_headers(page, answer)


def _with_headers(page: Response, answer: Response) -> Response:
    """Return a page with what the headers of a problem say beside its text, such as when to come again."""
    for name, value in answer.headers.items():
        page.headers.setdefault(name, value)
    return page


async def _frame_of(request: Request, studio: Studio, error: Exception) -> dict[str, Any]:
    """Return what is around an error: as around all pages, if the viewer is known and the store answers.

    With it comes the softly deleted session that was asked for, if there is one.
    """
    # To ask again would take as long again.
    if not isinstance(error, UnavailableError):
        try:
            around = await frame(studio, await studio.access.authenticate(request), request)
            return {**around, "deleted": await deletion.find_deleted(request, studio, error)}
        except (HTTPException, MongoStoreError):
            pass
    return {**await bare_frame(studio), "deleted": None}


def _words(error: Exception, status: int) -> tuple[str, str]:
    if isinstance(error, UnavailableError):
        return "MongoDB does not answer", "The studio asks again by itself; nothing that is stored is lost."
    if isinstance(error, NotFoundError):
        return f"There is no such {error.kind}", "It may have been deleted, or never stored here."
    if isinstance(error, InvalidDocumentError):
        return f"This {error.kind} cannot be read", (
            "It was not written by mongostore, or was changed by other hands, or is of a newer version. "
            "It stays as it is."
        )
    if isinstance(error, ConflictError):
        return "That does not work", f"It is not in the state for it: {error}"
    if isinstance(error, AccessDeniedError):
        return "MongoDB does not allow that", "The user with which the studio connects may not do it."
    if isinstance(error, ProblemError):
        return {403: "Not from there", 404: "Nothing is here"}.get(status, "That does not work"), str(
            error.detail
        )
    if status == 422:
        return "That address does not fit", "A part of it is not what this page takes."
    return "The server failed", f"It raised {type(error).__name__}; its log has more."
