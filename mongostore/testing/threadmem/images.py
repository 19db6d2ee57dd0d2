"""The contract for the images of role messages."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mongostore.testing.threadmem.parts import URL, again

MiB = 1024 * 1024
PNG = "data:image/png;base64,"
# What the format can hold.
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]

Give = Callable[[Any], list[str]]


def by_post(threadmem: Any, images: Any) -> list[str]:
    """Return images as a thread has them to which they were posted."""
    thread = threadmem.RoleThread()
    thread.post("user", "", images)
    [message] = again(thread).messages()
    return list(message.images)


def by_message(threadmem: Any, images: Any) -> list[str]:
    """Return images as a message has them that was made with them."""
    return list(again(threadmem.RoleMessage("user", "", images=images)).images)


def opened(url: str) -> Image.Image:
    """Return the image that is in a URL, which has to be of a PNG."""
    assert url.startswith(PNG)
    image = Image.open(BytesIO(base64.b64decode(url.removeprefix(PNG), validate=True)))
    assert image.format == "PNG"
    return image


def image_url(size: int, head: str = PNG.removesuffix(",")) -> str:
    return f"{head},{base64.b64encode(os.urandom(size)).decode()}"


class ImageSuite:
    """Images: added in any way, and kept in their messages."""

    @pytest.fixture(params=[by_post, by_message], ids=["posted", "made"])
    def give(self, request: pytest.FixtureRequest, threadmem: Any) -> Give:
        """Give images in each way and return them as they are found again."""
        return partial(request.param, threadmem)

    @pytest.mark.parametrize(
        "url",
        [
            URL,
            "http://example.com/a.png",
            "data:,",
            "data:image/png;base64,AAAA",
            "data:image/png;base64,AAAA====",
            "data:image/svg+xml,<svg>é🙂</svg>",
            "https://",
        ],
    )
    def test_a_url_is_kept_and_never_looked_at(self, give: Give, url: str) -> None:
        assert give([url]) == [url]

    @pytest.mark.parametrize("mode", MODES)
    def test_an_image_becomes_a_png(self, give: Give, mode: str) -> None:
        [url] = give([Image.new(mode, (3, 2))])
        assert opened(url).size == (3, 2)

    @pytest.mark.parametrize(
        ("mode", "pixel"), [("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 4)), ("LA", (1, 2)), ("I;16", 5)]
    )
    def test_the_pixels_are_those_of_the_image(self, give: Give, mode: str, pixel: Any) -> None:
        [url] = give([Image.new(mode, (1, 1), pixel)])
        assert opened(url).getpixel((0, 0)) == pixel

    @pytest.mark.parametrize("kind", ["png", "webp", "jpeg", "gif", "bmp"])
    def test_a_path_is_read_once(
        self, give: Give, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Image.new("RGB", (3, 2)).save(f"image.{kind}")
        for path in (f"./image.{kind}", f"image.{kind}", str(tmp_path / f"image.{kind}")):
            [url] = give([path])
            assert opened(url).size == (3, 2)

    def test_images_keep_their_order(self, give: Give) -> None:
        large = image_url(MiB)
        *others, made, last = give([URL, large, Image.new("RGB", (2, 1)), URL])
        assert [*others, last] == [URL, large, URL]
        assert opened(made).size == (2, 1)

    def test_no_images_are_none(self, give: Give) -> None:
        assert give([]) == []

    @pytest.mark.parametrize("name", ["nothing.png", "", "iVBORw0KGgo=", "ftp://example.com/a.png"])
    def test_where_no_file_is_none_is_read(self, give: Give, name: str) -> None:
        with pytest.raises(FileNotFoundError):
            give([URL, name])

    @pytest.mark.parametrize(("image", "error"), [("nothing.png", FileNotFoundError), (5, ValueError)])
    def test_with_a_bad_image_nothing_is_posted(
        self, threadmem: Any, image: Any, error: type[Exception]
    ) -> None:
        thread = threadmem.RoleThread()
        with pytest.raises(error):
            thread.post("user", "hi", [URL, image])
        assert thread.messages() == again(thread).messages() == []
        assert threadmem.RoleMessage.find(thread_id=thread.id) == []

    @pytest.mark.parametrize(
        "head",
        [
            "data:;base64",
            "data:image/webp;charset=x;base64",
            "data:image/png",
            "https://example.com/a?x=",
            "data:é",
        ],
    )
    def test_any_large_url_is_kept_to_the_letter(self, give: Give, head: str) -> None:
        odd = f"{head},{'ab=c' * (MiB // 3)}"
        url = image_url(MiB, head)
        assert give([url, odd]) == [url, odd]

    def test_images_of_users_are_taken_away_by_the_next_save(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread()
        thread.post("user", "a", [URL])
        thread.post("assistant", "b", [URL])
        found = again(thread)
        found.remove_images()
        assert [message.images for message in again(thread).messages()] == [[URL], [URL]]
        found.save()
        assert [message.images for message in again(thread).messages()] == [[], [URL]]
