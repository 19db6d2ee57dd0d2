"""The content of messages and events, in the form of any framework, as blocks that pages show."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from mongostore.servers.studio import markdown
from mongostore.servers.studio.formats import visible

# Characters of JSON, arguments and results that are shown at first.
CLIP_JSON = 2000
_SHORT = 120
# A value of so many characters of JSON is in one line.
_LINE = 36
# Of base64, a multiple of four that holds what a type is known by.
_HEAD_CHARACTERS = 32
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})(?:;[\w=.+-]{0,100})*;base64,", re.IGNORECASE)
_DEPTH = 4


@dataclass
class Block:
    """One piece of what is shown of a content.

    Attributes:
        kind: `text`, `json`, `image`, `remote` for an image that is elsewhere, or `file`.
        html: The visible part of a text or JSON.
        total: How many characters there are, where not all are shown.
        data: An image in base64.
        media_type: Its declared type.
        address: Where a remote one is.
        name: Its name.
        number: Of an image, counted from 0 within its content.
    """

    kind: str
    html: Markup = field(default_factory=Markup)
    total: int = 0
    data: str = ""
    media_type: str = ""
    address: str = ""
    name: str = ""
    number: int = 0

    @property
    def size(self) -> int:
        """The bytes of an image."""
        return len(self.data) * 3 // 4

    @property
    def is_drawn(self) -> bool:
        """Whether browsers draw it."""
        return image_type(_decode(self.data[:_HEAD_CHARACTERS]) or b"") is not None

    @property
    def data_url(self) -> str:
        """An image that browsers draw, as an address that holds all of it."""
        image = _decode(self.data) or b""
        return f"data:{image_type(image)};base64,{base64.b64encode(image).decode()}"

    @property
    def host(self) -> str:
        """The host of an address."""
        try:
            return urlsplit(self.address).hostname or self.address[:60]
        except ValueError:
            return self.address[:60]


@dataclass
class Call:
    """A call of a tool, with its result if that is known.

    Attributes:
        status: `done`, `failed` or `open`.
        remark: A few words, such as how long it took.
        position: Where the result stands.
        whole: Whether nothing of it is left out.
    """

    id: str
    name: str
    arguments: Any = None
    result: Any = None
    status: str = "open"
    remark: str = ""
    position: str = ""
    whole: bool = False

    @property
    def short(self) -> str:
        """The arguments in one line."""
        return shorten(self.arguments)

    @property
    def arguments_html(self) -> Markup:
        """The arguments, as code."""
        return code(self.arguments, whole=self.whole)

    @property
    def result_html(self) -> Markup:
        """The result, as code or text."""
        return code(self.result, whole=self.whole)

    def end(self, result: Any, *, failed: bool, position: str = "") -> None:
        """Record how it has ended."""
        self.result, self.position = result, position
        self.status = "failed" if failed else "done"


@dataclass
class Content:
    """The parts of a content: blocks, calls of tools, and results by the ids of their calls."""

    blocks: list[Block] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    results: dict[str, tuple[Any, bool]] = field(default_factory=dict)
    _images: int = 0

    def add_text(self, text: str, *, whole: bool = False) -> None:
        """Add Markdown, its beginning unless the whole is wanted."""
        if not text.strip():
            return
        clipped = not whole and len(text) > markdown.CLIP
        html = markdown.render(text[: markdown.CLIP] if clipped else text)
        self.blocks.append(Block("text", html, len(text) if clipped else 0))

    def add_json(self, value: Any, *, whole: bool = False) -> None:
        """Add a value that has no form that is known."""
        text = to_json(value)
        clipped = not whole and len(text) > CLIP_JSON
        html = markdown.highlight(text[:CLIP_JSON] if clipped else text, "json")
        self.blocks.append(Block("json", html, len(text) if clipped else 0))

    def add_image(self, address: Any, name: str = "", media_type: str = "") -> None:
        """Add an image that stands in the content, or is elsewhere."""
        if not isinstance(address, str):
            return self.add_json(address)
        if found := _DATA_URL.match(address):
            data = address[found.end() :]
            self.add_inline(data, found[1] or media_type, name)
        else:
            self.blocks.append(Block("remote", address=address, name=name, media_type=media_type))
        return None

    def add_inline(self, data: str, media_type: str, name: str = "") -> None:
        """Add an image that stands in the content, in base64."""
        block = Block("image", data=data, media_type=media_type, name=name, number=self._images)
        self._images += 1
        self.blocks.append(block)


def read_content(value: Any, data: dict[str, Any] | None = None, *, whole: bool = False) -> Content:
    """Return what is in a content, and the calls and images that stand beside it in a message's data.

    With `whole`, nothing is shortened.
    """
    content, data = Content(), data or {}
    _read(content, value, whole, 0)
    content.calls += _calls_in(data)
    for call in content.calls:
        call.whole = whole
    images = data.get("images")
    for image in images if isinstance(images, list) else []:
        if isinstance(image, str):
            content.add_image(image)
    return content


def _read(content: Content, value: Any, whole: bool, depth: int) -> None:
    if value is None:
        return
    if isinstance(value, str):
        if found := _DATA_URL.match(value):
            content.add_inline(value[found.end() :], found[1])
        else:
            content.add_text(value, whole=whole)
    elif isinstance(value, list) and depth < _DEPTH and all(isinstance(part, dict | str) for part in value):
        for part in value:
            _read(content, part, whole, depth + 1)
    elif not (isinstance(value, dict) and depth <= _DEPTH and _read_part(content, value, whole, depth)):
        content.add_json(value, whole=whole)


def _read_part(content: Content, part: dict[str, Any], whole: bool, depth: int) -> bool:
    """Add a part of a form that is known; return whether it is."""
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            content.add_text(text, whole=whole)
        case {"type": "text" | "rich" | "system" | "template", "body": str(text)}:
            content.add_text(text, whole=whole)
        case {"type": "thinking", "thinking": str(text)} | {"type": "reasoning", "text": str(text)}:
            content.add_text(text, whole=whole)
        case {"type": "image_url", "image_url": {"url": address}} | {
            "type": "input_image" | "image_url",
            "image_url": address,
        }:
            content.add_image(address)
        case {"type": "image" | "document", "source": {"type": "base64", "data": str(data)} as source}:
            content.add_inline(data, str(source.get("media_type", "")))
        case {"type": "image", "source": {"url": str(address)}}:
            content.add_image(address)
        case {"type": "image" as kind, "image": dict(media)} | {
            "type": "video" as kind,
            "video": dict(media),
        }:
            found: Any = media.get("url") or media.get("base64") or media.get("stream_url")
            content.add_image(found, str(media.get("name") or kind), "" if kind == "image" else kind)
        case {"type": "media" | "audio" | "video" | "image" as kind, "url": str(address)}:
            content.add_image(address, str(part.get("filename") or kind), str(part.get("mime_type") or ""))
            for name in ("caption", "transcript"):
                if isinstance(words := part.get(name), str):
                    content.add_text(words, whole=whole)
        case {"type": "composite", "parts": list(parts)}:
            _read(content, parts, whole, depth + 1)
        case {"type": "tool_use", "id": id, "name": str(name)}:
            content.calls.append(Call(str(id), name, part.get("input")))
        case {"type": "tool_result", "tool_use_id": id}:
            content.results[str(id)] = part.get("content"), part.get("is_error") is True
        case {"type": "tool_call", "tool_name": str(name)}:
            content.calls.append(_roomkit_call(part, name))
        case _:
            return False
    return True


def _roomkit_call(part: dict[str, Any], name: str) -> Call:
    call = Call(str(part.get("tool_id") or ""), name, part.get("arguments"))
    error = part.get("error")
    if part.get("status") in ("completed", "success", "ok") or error or part.get("result") is not None:
        call.end(part.get("result") if error is None else error, failed=bool(error))
    if isinstance(took := part.get("duration_ms"), int | float):
        call.remark = f"{took:.0f} ms"
    return call


def _calls_in(data: dict[str, Any]) -> Iterator[Call]:
    """Yield the calls of tools that stand beside a content, in OpenAI's form."""
    calls = data.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        match call:
            case {"function": {"name": str(name)} as function}:
                yield Call(str(call.get("id", "")), name, _parse(function.get("arguments")))
            case {"name": str(name)}:
                yield Call(str(call.get("id", "")), name, call.get("args", call.get("arguments")))


def _parse(text: Any) -> Any:
    """Return the value of JSON; any other text as it is."""
    try:
        return json.loads(text) if isinstance(text, str) and len(text) < markdown.PLAIN else text
    except (ValueError, RecursionError):
        return text


def code(value: Any, *, whole: bool = False) -> Markup:
    """Return a value as highlighted JSON, a text as it is; the beginning unless the whole is wanted."""
    value = _parse(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
    text = value if isinstance(value, str) else to_json(value)
    clipped = not whole and len(text) > CLIP_JSON
    excerpt = text[:CLIP_JSON] if clipped else text
    html = markdown.highlight(excerpt, "text" if isinstance(value, str) else "json")
    return (
        html + Markup('<span class="cm">… {} more</span>').format(f"{len(text) - CLIP_JSON:,}")
        if clipped
        else html
    )


def to_json(value: Any) -> str:
    """Return a value as JSON for people: small ones in a line, and a long text of base64 as its length."""
    return _to_json(value, 0, 0)


def _to_json(value: Any, indent: int, before: int) -> str:
    """Return a value as JSON that stands behind so many characters of a line that is indented so far."""
    if isinstance(value, dict):
        names = [json.dumps(str(name), ensure_ascii=False) for name in value]
        texts = zip(names, value.values(), strict=True)
        parts = [f"{name}: {_to_json(one, indent + 1, len(name) + 2)}" for name, one in texts]
    elif isinstance(value, list):
        parts = [_to_json(one, indent + 1, 0) for one in value]
    else:
        if isinstance(value, str) and (found := _DATA_URL.match(value)):
            value = f"{value[: found.end()]}… {len(value) - found.end():,} characters"
        return json.dumps(value, ensure_ascii=False, default=str)
    begin, end = "{}" if isinstance(value, dict) else "[]"
    length = indent + before + sum(len(part) + 2 for part in parts)
    if length <= _LINE and not any("\n" in part for part in parts):
        return f"{begin}{', '.join(parts)}{end}"
    line = "\n" + " " * indent
    return f"{begin}{line} {f',{line} '.join(parts)}{line}{end}"


def shorten(value: Any, length: int = _SHORT) -> str:
    """Return a value in one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text[: 4 * length].split())
    return visible(text if len(text) <= length else f"{text[: length - 1]}…")


def decode_image(block: Block) -> bytes | None:
    """Return the bytes of an image in base64; None if they are none."""
    return _decode(block.data)


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def image_type(head: bytes) -> str | None:
    """Return the media type of an image that browsers may draw, by its first bytes; None for all else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head.startswith(b"RIFF") and head[8:12] == b"WEBP" else None
