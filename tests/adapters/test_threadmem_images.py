"""Images of role messages: given in any way, kept in messages and files, and gone with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mongostore import DocumentTooLargeError, InvalidValueError, MongoStore, NotFoundError
from mongostore.adapters import threadmem
from mongostore.adapters.threadmem import RoleMessage, RoleThread
from mongostore.adapters.threadmem.img import b64_to_image, image_to_b64, parse_image_data
from mongostore.testing.threadmem.images import Give, MiB, by_message, by_post, image_url
from mongostore.testing.threadmem.parts import URL

# What a PNG cannot hold, or not with every Pillow.
MODES = ["CMYK", "YCbCr", "LAB", "HSV", "I", "F", "PA", "La", "RGBa", "RGBX"]


@pytest.fixture(params=[by_post, by_message], ids=["posted", "made"])
def give(request: pytest.FixtureRequest, role_store: MongoStore) -> Give:
    """Gives images in each way and returns them as they are found again."""
    return partial(request.param, threadmem)


@pytest.fixture
def files(role_store: MongoStore) -> Callable[[], int]:
    """Counts the files, the chunks and the elements that there are, but not what expires of deleted ones."""
    database, there = role_store.core.engine.database, {"expires_at": {"$exists": False}}

    def count() -> int:
        names = ("files.files", "files.chunks", "elements")
        return sum(role_store.portal.run(database[name].count_documents(there)) for name in names)

    return count


@pytest.mark.parametrize("mode", MODES)
def test_images_that_are_nothing_for_a_png_become_one(give: Give, mode: str) -> None:
    [url] = give([Image.new(mode, (3, 2))])
    assert url.startswith("data:image/png;base64,")
    made = b64_to_image(url)
    assert (made.format, made.size) == ("PNG", (3, 2))


def test_small_numbers_are_pixels_of_a_png(give: Give) -> None:
    assert b64_to_image(give([Image.new("I", (1, 1), 5)])[0]).getpixel((0, 0)) == 5


def test_an_image_is_that_of_the_old_helper(give: Give) -> None:
    image = Image.new("RGB", (1, 1))
    assert give([image]) == [image_to_b64(image)]


def test_no_images_are_none(give: Give) -> None:
    assert give(()) == give(None) == []


@pytest.mark.parametrize("name", ["nothing.png", "", "iVBORw0KGgo=", "ftp://example.com/a.png"])
def test_where_no_file_is_none_is_read(give: Give, name: str) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        give([URL, name])
    assert str(raised.value) == "images[1]: there is no such file"


@pytest.mark.parametrize(
    "image",
    [
        *(None, 5, b"data:,", ["data:,"], {"url": URL}, Path("a.png")),
        *("\0", "data:\ud800", "a" * 5000),
        "/",
        __file__,
        Image.new("RGB", (0, 0)),
    ],
    ids=lambda image: repr(image)[:20],
)
def test_what_is_no_image_is_refused(give: Give, files: Callable[[], int], image: Any) -> None:
    before = files()
    with pytest.raises(InvalidValueError, match=r"^images\[1\]: ") as raised:
        give([image_url(MiB), image])
    assert len(str(raised.value)) < 100
    assert files() == before


def test_a_closed_or_broken_image_is_refused(give: Give) -> None:
    closed = Image.new("RGB", (1, 1))
    closed.close()
    buffer = BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    broken = Image.open(BytesIO(buffer.getvalue()[:900]))
    for image in (closed, broken):
        with pytest.raises(InvalidValueError, match=r"^images\[0\]: "):
            give([image])


@pytest.mark.parametrize(
    "images", [URL, {URL: 1}, 5, iter([URL])], ids=["text", "dict", "number", "iterator"]
)
def test_what_is_no_list_of_images_is_refused(give: Give, images: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"^images: "):
        give(images)


@pytest.mark.parametrize("images", [URL, [URL, 5], [None], ["data:\ud800"]])
def test_images_that_are_set_later_are_looked_at_too(role_store: MongoStore, images: Any) -> None:
    message = RoleMessage("user", "", images=[URL])
    message.images = images
    with pytest.raises(InvalidValueError, match=r"^images"):
        message.save()
    assert RoleMessage.find(id=message.id)[0].images == [URL]


@pytest.mark.parametrize("size", [MiB // 4 * 3 - 100, MiB, 17 * MiB])
def test_a_large_image_comes_back_byte_for_byte_and_goes_with_its_thread(
    files: Callable[[], int], size: int
) -> None:
    before, url = files(), image_url(size)
    thread = RoleThread()
    thread.post("user", "large", [url, URL])
    assert (files() > before) is (size >= MiB)
    [found] = RoleThread.find(id=thread.id)
    assert found.messages()[0].images == [url, URL]
    assert found.to_openai()[0]["content"][1]["image_url"]["url"] == url
    thread.delete()
    assert files() == before


def test_a_loose_message_takes_its_images_into_a_thread(files: Callable[[], int]) -> None:
    before, url = files(), image_url(MiB)
    loose = RoleMessage("user", "", images=[url])
    thread = RoleThread()
    thread.add_msg(loose)
    [found] = RoleThread.find(id=thread.id)
    assert found.messages()[0].images == [url]
    thread.delete()
    assert files() == before


def test_images_that_are_taken_away_are_deleted(files: Callable[[], int]) -> None:
    before, urls = files(), [image_url(MiB), image_url(MiB)]
    thread = RoleThread()
    thread.post("user", "", urls)
    [message] = thread.messages()
    whole = files()
    message.images = [urls[1], URL]
    message.save()
    assert before < files() < whole
    assert RoleMessage.find(id=message.id)[0].images == [urls[1], URL]
    thread.remove_images()
    thread.save()
    assert files() == before
    assert RoleMessage.find(id=message.id)[0].images == []


def test_a_change_of_the_text_touches_no_image(
    role_store: MongoStore, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = image_url(MiB)
    message = RoleMessage("user", "old", images=[url])
    before = files()
    [found] = RoleMessage.find(id=message.id)
    with monkeypatch.context() as patch:
        patch.delattr(type(role_store.threads.files), "read")
        patch.delattr(type(role_store.threads.files), "upload")
        found.text = "new"
        found.save()
    assert files() == before
    assert RoleMessage.find(id=message.id)[0].images == [url]


def test_a_copy_has_images_of_its_own(files: Callable[[], int]) -> None:
    before, url = files(), image_url(MiB)
    thread = RoleThread()
    thread.post("user", "", [url])
    made = thread.copy()
    made.save()
    thread.delete()
    [found] = RoleThread.find(id=made.id)
    assert found.messages()[0].images == [url]
    made.delete()
    assert files() == before


def test_many_images_may_be_larger_than_a_document(files: Callable[[], int]) -> None:
    before, urls = files(), [image_url(300_000) for _ in range(60)]
    thread = RoleThread()
    thread.post("user", "", urls)
    [found] = RoleThread.find(id=thread.id)
    assert found.messages()[0].images == urls
    thread.delete()
    assert files() == before


def test_what_is_refused_leaves_no_file(files: Callable[[], int]) -> None:
    before, url = files(), image_url(MiB)
    thread = RoleThread()
    thread.post("user", "kept")
    deleted = RoleThread()
    deleted.delete()
    for call, error in (
        (lambda: thread.post("user", "x" * (17 * MiB), [url]), DocumentTooLargeError),
        (lambda: thread.post("user", "", [url], metadata={"k": {1}}), InvalidValueError),
        (lambda: thread.post(5, "", [url]), InvalidValueError),
        (lambda: thread.post("user", "", [url, url, 5]), InvalidValueError),
        (lambda: deleted.post("user", "", [url, url]), NotFoundError),
        (lambda: RoleMessage("user", "", deleted.id, [url, url]), NotFoundError),
    ):
        with pytest.raises(error):
            call()  # type: ignore[no-untyped-call]
    assert files() == before
    [found] = RoleThread.find(id=thread.id)
    assert [message.text for message in found.messages()] == [m.text for m in thread.messages()] == ["kept"]


def test_the_old_helpers_are_there() -> None:
    url = image_to_b64(Image.new("CMYK", (2, 1)), "JPEG")
    assert parse_image_data(url) == ("image/jpeg", url.partition(",")[2])
    assert b64_to_image(url).size == b64_to_image(url.partition(",")[2]).size == (2, 1)
    for no_image in ("", "data:,", "x", "data:image/png;base64,", "data:image/png;base64,é"):
        with pytest.raises(InvalidValueError):
            b64_to_image(no_image)
    for no_image in ("", "data:image/png,AAAA", "image/png;base64,AAAA"):
        with pytest.raises(ValueError, match="Invalid image data format"):
            parse_image_data(no_image)
