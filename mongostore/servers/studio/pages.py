"""The templates, and the policy under which their pages run."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from functools import lru_cache
from importlib.resources import files
from typing import Any

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from mongostore.errors import InvalidDocumentError
from mongostore.servers.studio import charts, content, formats
from mongostore.servers.studio.addresses import encode_id

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types studio"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With none at all, a browser would hide from the studio that a form is its own.
    "Referrer-Policy": "same-origin",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
# A name with the hash of all never means other bytes.
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NAMES = ("studio.css", "studio.js", "icons.svg", "icon.svg")
_FONTS = ("fonts/geist.woff2", "fonts/geist-mono.woff2", "fonts/OFL-geist.txt")


def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("mongostore.servers.studio"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=formats.finalize,
        # Whether the file is another by now would be asked of the disk for each message.
        auto_reload=False,
    )
    for name in (
        "clock",
        "full_time",
        "day",
        "week_day",
        "short_time",
        "iso",
        "size",
        "seconds",
        "number",
        "plural",
        "initial",
    ):
        env.filters[name] = getattr(formats, name)
    env.filters |= {"code": content.code, "short": content.shorten, "seg": encode_id}
    env.tests["unreadable"] = lambda value: isinstance(value, InvalidDocumentError)
    env.globals["charts"] = charts
    return env


_templates = _environment()


@lru_cache
def asset(name: str) -> bytes:
    """Return a file that pages use."""
    return files("mongostore.servers.studio").joinpath("static", *name.split("/")).read_bytes()


@lru_cache
def assets_version() -> str:
    """Return the hash of all files that pages use."""
    digest = hashlib.sha256(b"".join(asset(name) for name in (*_NAMES, *_FONTS)))
    return digest.hexdigest()[:12]


def asset_response(name: str) -> Response | None:
    """Return the answer with a file that pages use; None if there is none of that name."""
    if name not in (*_NAMES, *_FONTS):
        return None
    media_type = _TYPES[name[name.rindex(".") :]]
    return Response(asset(name), media_type=media_type, headers=_FOREVER | _HEADERS)


async def render(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """Return a page, or a part of one, under the policy that lets nothing stored run."""
    nonce = secrets.token_urlsafe(16)
    # Many messages take a tenth of a second, in which others would wait.
    html = await asyncio.to_thread(write, template, **page_names(request), nonce=nonce, **context)
    headers = _HEADERS | {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
    return HTMLResponse(html, status, headers=headers)


def page_names(request: Request) -> dict[str, Any]:
    """Return what every template of a page needs: where the studio and its files are."""
    root = request.scope.get("root_path", "")
    static = f"{root}/static/{assets_version()}"
    return {"root": root, "static": static, "icons": f"{static}/icons.svg", "is_file": False}


def write(template: str, **context: Any) -> Markup:
    """Return the text of a template."""
    return Markup(_templates.get_template(template).render(**context))
