"""The page `/docs`, which loads nothing from other servers."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
}
# Beside the page and not in it, as the policy lets no script stand there.
_SCRIPT = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null
});
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""


def add_docs_route(app: FastAPI) -> None:
    """Add the page `/docs` to an application, with all that it needs."""
    # Imported here, since only this page needs it.
    assets = files("fastapi_swagger.resources")

    async def page(request: Request) -> Response:
        return HTMLResponse(_PAGE.format(title=escape(app.title)), headers=_HEADERS)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name == "start.js":
            return Response(_SCRIPT, media_type="text/javascript", headers=_HEADERS)
        if name not in _ASSETS:
            raise HTTPException(404)
        content = assets.joinpath(name).read_bytes()
        return Response(content, media_type=_ASSETS[name], headers=_HEADERS)

    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/{name}", asset, include_in_schema=False)
