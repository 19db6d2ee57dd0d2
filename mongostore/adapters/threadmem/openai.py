"""Messages as OpenAI writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mongostore.arguments import check_text
from mongostore.errors import InvalidValueError

_TAG = "<image>"


def read_openai(msg: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """Return role, text and images of a message in OpenAI's format.

    Several texts become one of several lines; where images stand between or before them, `<image>` tags
    keep their places.

    Raises:
        InvalidValueError: It is no such message.
    """
    try:
        # An assistant that calls tools may say nothing.
        content = msg["content"] if msg["role"] != "assistant" else msg.get("content")
        parts: list[Any] = (
            content
            if isinstance(content, list)
            else [{"type": "text", "text": "" if content is None else content}]
        )
        texts = [part["text"] for part in parts if part["type"] == "text"]
        kinds = [part["type"] for part in parts if part["type"] in ("text", "image_url")]
        images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        is_tagged = kinds != sorted(kinds, reverse=True) and not any(_TAG in text for text in texts)
        if is_tagged:
            remaining = iter(texts)
            texts = [next(remaining) if kind == "text" else _TAG for kind in kinds]
        return check_text("role", msg["role"]), check_text("text", "\n".join(texts)), images
    except (KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError("msg", "is no message in OpenAI's format") from None


def write_openai(role: str, text: str, images: list[str]) -> dict[str, Any]:
    """Return a message in OpenAI's format: each `<image>` is the next image, else they come last.

    Raises:
        ValueError: There are `<image>` tags, but not as many as images.
    """
    texts = text.split(_TAG)
    tags = len(texts) - 1
    if tags and tags != len(images):
        raise ValueError(f"Number of <image> tags ({tags}) must match number of images ({len(images)})")
    content: list[dict[str, Any]] = []
    for index, piece in enumerate(texts):
        if piece.strip():
            content.append({"type": "text", "text": piece.strip()})
        following = images[index : index + 1] if index < tags else images[tags:]
        content += [{"type": "image_url", "image_url": {"url": image}} for image in following]
    return {"role": role, "content": content}
