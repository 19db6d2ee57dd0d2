import json
import re
from importlib import resources

import pytest

FILES = {
    file.name: file.read_text(encoding="utf-8").splitlines()
    for file in resources.files("mongostore.samples").iterdir()
    if file.name.endswith(".jsonl")
}
DIALOGUES = [
    pytest.param(json.loads(line), id=f"{name}:{number}")
    for name, lines in FILES.items()
    for number, line in enumerate(lines, 1)
]


def test_dialogues_come_with_the_package():
    assert len(FILES) >= 3
    assert all(FILES.values())


@pytest.mark.parametrize("name", FILES)
def test_file_names_are_lower_snake_case(name):
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*\.jsonl", name)


def test_ids_are_unique():
    ids = [param.values[0]["id"] for param in DIALOGUES]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_dialogue_says_what_it_is_and_whose(dialogue):
    assert dialogue.keys() == {"id", "name", "metadata", "messages"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", dialogue["id"])
    assert dialogue["name"].strip()
    assert dialogue["metadata"].keys() >= {"author", "work", "year", "licence"}
    assert dialogue["metadata"]["licence"] == "public domain"


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_every_message_has_a_role_a_speaker_and_words(dialogue):
    assert 12 <= len(dialogue["messages"]) <= 40
    for message in dialogue["messages"]:
        assert message.keys() == {"role", "name", "content"}
        assert message["role"] in {"user", "assistant"}
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", message["name"])
        assert message["content"] == message["content"].strip() != ""


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_one_speaker_asks_and_the_others_answer(dialogue):
    asking = {message["name"] for message in dialogue["messages"] if message["role"] == "user"}
    answering = {message["name"] for message in dialogue["messages"] if message["role"] == "assistant"}
    assert len(asking) == 1
    assert answering
    assert not asking & answering
