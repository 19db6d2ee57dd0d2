"""Role threads and messages in OpenAI's form, and from it."""

from __future__ import annotations

from typing import Any

import pytest

from mongostore.testing.threadmem.parts import OTHER, URL, again


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text_part(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


class OpenAISuite:
    """OpenAI's format, both ways."""

    @pytest.mark.parametrize(
        ("words", "images", "content"),
        [
            ("", [], []),
            ("  ", [], []),
            (" a ", [], [text_part("a")]),
            ("a", [URL], [text_part("a"), part(URL)]),
            ("", [URL, OTHER], [part(URL), part(OTHER)]),
            ("<image>", [URL], [part(URL)]),
            (
                "a <image> b<image>",
                [URL, OTHER],
                [text_part("a"), part(URL), text_part("b"), part(OTHER)],
            ),
            ("<image><image>c", [URL, OTHER], [part(URL), part(OTHER), text_part("c")]),
            ("<IMAGE>", [URL], [text_part("<IMAGE>"), part(URL)]),
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
            ([text_part("a"), part(URL)], "a", [URL]),
            ([text_part("a"), {"type": "input_audio", "input_audio": {}}], "a", []),
        ],
    )
    def test_openai_tells_a_message(
        self, threadmem: Any, content: Any, words: str, images: list[str]
    ) -> None:
        message = threadmem.RoleMessage.from_openai({"role": "user", "content": content, "tool_calls": []})
        found = again(message)
        assert (found.role, found.text, found.images, found.thread_id) == ("user", words, images, None)

    def test_of_several_texts_of_a_message_none_is_lost(self, threadmem: Any) -> None:
        message = threadmem.RoleMessage.from_openai(
            {"role": "user", "content": [text_part("a"), text_part("b")]}
        )
        assert again(message).text.split() == ["a", "b"]

    def test_an_assistant_that_calls_tools_may_say_nothing(self, threadmem: Any) -> None:
        answer = {"role": "assistant", "content": None, "tool_calls": [{"id": "call"}]}
        called = threadmem.RoleMessage.from_openai(answer)
        assert (called.role, called.text, called.images) == ("assistant", "", [])

    def test_openai_is_told_all_messages_and_tells_them(self, threadmem: Any) -> None:
        thread = threadmem.RoleThread.from_openai(
            [
                {"role": "user", "content": [text_part("a")]},
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "user", "content": [part(URL)]},
            ]
        )
        thread.post("user", "secret", private=True)
        answer = again(thread).to_openai()
        assert answer == thread.to_openai()
        assert answer == [
            {"role": "user", "content": [text_part("a")]},
            {"role": "assistant", "content": []},
            {"role": "user", "content": [part(URL)]},
            {"role": "user", "content": [text_part("secret")]},
        ]
