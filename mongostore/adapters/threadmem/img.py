"""Images of messages: what a caller gives becomes a `data:` URL, URLs stay as they are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from mongostore.arguments import check_list, check_text
from mongostore.errors import InvalidValueError

_URLS = ("data:", "https://", "http://")
# What a PNG file can hold as it is.
_PNG_MODES = {"1", "L", "LA", "I;16", "P", "RGB", "RGBA"}
_NEAREST_MODES = {"I": "I;16", "I;16L": "I;16", "I;16B": "I;16", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}


def image_to_b64(img: Image.Image, image_format: str = "PNG") -> str:
    """Return an image as a `data:` URL in an image format such as `PNG` or `JPEG`."""
    if image_format == "PNG" and img.mode not in _PNG_MODES:
        img = img.convert(_NEAREST_MODES.get(img.mode, "RGB"))
    buffer = BytesIO()
    img.save(buffer, format=image_format)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{image_format.lower()};base64,{content}"


def b64_to_image(base64_str: str) -> Image.Image:
    """Return the image in a `data:` URL, or in base64 without its head.

    Raises:
        InvalidValueError: There is none in it.
    """
    try:
        return Image.open(BytesIO(base64.b64decode(base64_str.rpartition(",")[2])))
    except (ValueError, OSError, Image.DecompressionBombError):
        raise InvalidValueError("base64_str", "is no image in base64") from None


def parse_image_data(image_data_str: str) -> tuple[str, str]:
    """Return the media type and the base64 text of a `data:` URL.

    Raises:
        ValueError: It is none.
    """
    head, separator, content = image_data_str.partition(";base64,")
    if not separator or not content or not head.startswith("data:"):
        raise ValueError("Invalid image data format")
    return head.removeprefix("data:"), content


def unwrap(url: str) -> tuple[bytes, str, str] | None:
    """Return the content, media type and head of a `data:` URL that `wrap` makes again to the letter."""
    head, _, text = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    media_type = head.removeprefix("data:").partition(";")[0]
    return (content, media_type, head) if wrap(content, head) == url else None


def wrap(content: bytes, head: str) -> str:
    """Return the `data:` URL with this content and head."""
    return f"{head},{base64.b64encode(content).decode()}"


def is_url(image: str) -> bool:
    """Return whether an image is named by a URL and not by the path of a file."""
    return image.startswith(_URLS)


def convert_images(images: Sequence[str | Image.Image] | None) -> list[str]:
    """Return images as messages keep them: URLs as they are, PIL images and local files as PNG in URLs.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidValueError: It is none of these, or no image that can be read; names its place.
    """
    check_list("images", images or [])
    return [_convert(f"images[{index}]", image) for index, image in enumerate(images or [])]


def _convert(path: str, image: object) -> str:
    if isinstance(image, Image.Image):
        try:
            return image_to_b64(image)
        except (OSError, ValueError, SystemError):
            raise InvalidValueError(path, "is an image that cannot be written as PNG") from None
    if not isinstance(image, str):
        raise InvalidValueError(path, f"unknown image type {type(image).__name__}")
    if is_url(image):
        return check_text(path, str.__str__(image))
    try:
        with Image.open(image) as opened:
            return image_to_b64(opened)
    except FileNotFoundError:
        # An image in base64 would be quoted as the name of the file.
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
        raise InvalidValueError(path, "is neither a URL nor the path of an image that can be read") from None
