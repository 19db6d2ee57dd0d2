"""Role threads and messages in OpenAI's form, and from it."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.testing.threadmem.parts import OTHER, URL, again


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def said(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


class OpenAISuite:
    """OpenAI's format, both ways."""

    @pytest.mark.parametrize(
        ("words", "images", "content"),
        [
            ("", [], []),
            ("  ", [], []),
            (" a ", [], [said("a")]),
            ("a", [URL], [said("a"), part(URL)]),
            ("", [URL, OTHER], [part(URL), part(OTHER)]),
            ("<image>", [URL], [part(URL)]),
            ("a <image> b<image>", [URL, OTHER], [said("a"), part(URL), said("b"), part(OTHER)]),
            ("<image><image>c", [URL, OTHER], [part(URL), part(OTHER), said("c")]),
            ("<IMAGE>", [URL], [said("<IMAGE>"), part(URL)]),
        ],
    )
    def test_a_message_is_told_to_openai(
        self, threadmem: Any, words: str, images: list[str], content: list[Any]
    ) -> None:
        message = threadmem.RoleMessage("user", words, images=images)
        assert message.to_openai() == {"role": "user", "content": content}

    @pytest.mark.parametrize(("words", "images"), [("<image>", 0), ("<image>", 2), ("<image><image>", 1)])
    def test_tags_have_to_be_as_many_as_images(self, threadmem: Any, words: str, images: int) -> None:
        message = threadmem.RoleMessage("user", words, images=[URL] * images)
        tags = words.count("<image>")
        with pytest.raises(
            ValueError, match=rf"Number of <image> tags \({tags}\) must match number of images \({images}\)"
        ):
            message.to_openai()

    @pytest.mark.parametrize(
        ("content", "words", "images"),
        [
            ("hi", "hi", []),
            ("", "", []),
            (None, "", []),
            ([], "", []),
            ([said("a"), part(URL)], "a", [URL]),
            ([said("a"), {"type": "input_audio", "input_audio": {}}], "a", []),
        ],
    )
    def test_openai_tells_a_message(
        self, threadmem: Any, content: Any, words: str, images: list[str]
    ) -> None:
        message = threadmem.RoleMessage.from_openai({"role": "user", "content": content, "tool_calls": []})
        found = again(message)
        assert (found.role, found.text, found.images, found.thread_id) == ("user", words, images, None)

    def test_of_several_texts_of_a_message_none_is_lost(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage.from_openai({"role": "user", "content": [said("a"), said("b")]})
        assert again(message).text.split() == ["a", "b"]

    def test_an_assistant_that_calls_tools_may_say_nothing(self, threadmem: Any) -> None:
        told = {"role": "assistant", "content": None, "tool_calls": [{"id": "call"}]}
        called = threadmem.RoleMessage.from_openai(told)
        assert (called.role, called.text, called.images) == ("assistant", "", [])

    def test_openai_is_told_all_messages_and_tells_them(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread.from_openai(
            [
                {"role": "user", "content": [said("a")]},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "user", "content": [part(URL)]},
            ]
        )
        thread.post("user", "secret", private=True)
        told = again(thread).to_openai()
        assert told == thread.to_openai()
        assert told == [
            {"role": "user", "content": [said("a")]},
            {"role": "assistant", "content": []},
            {"role": "user", "content": [part(URL)]},
            {"role": "user", "content": [said("secret")]},
        ]
