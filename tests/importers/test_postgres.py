"""Dumps of PostgreSQL, in the forms that pg_dump writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mongostore import AsyncMongoStore, ConfigurationError
from mongostore.importers import Importer, Report, SourceError
from mongostore.importers.postgres import read_array
from tests.importers.expected import numbers

TABLES = """\
\\restrict abc
CREATE TABLE public.agent_sessions (
    session_id character varying NOT NULL,
    created_at timestamp without time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.agent_messages (
    id integer NOT NULL,
    session_id character varying NOT NULL,
    message_data text NOT NULL,
    created_at timestamp without time zone
);
CREATE TABLE public.others (
    id numeric(10,2),
    CONSTRAINT positive CHECK ((id > (0)::numeric))
);
"""
TEXTS = ["it's", "line\nreturn\r tab\t back\\slash", "NULL", "\\N", "a;b','c", "ü 📦", "$x$", ""]


def copied(text: str) -> str:
    for char, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(char, escape)
    return text


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def dump(form: str) -> str:
    items = [json.dumps({"role": "user", "content": text}, ensure_ascii=False) for text in TEXTS]
    head = "s\t2024-01-02 03:04:05.678\n"
    rows = "".join(f"{number}\ts\t{copied(item)}\t\\N\n" for number, item in enumerate(items))
    match form:
        case "copy":
            return (
                f"{TABLES}COPY public.agent_sessions (session_id, created_at) FROM stdin;\n{head}\\.\n\n"
                "COPY public.agent_messages (id, session_id, message_data, created_at) FROM stdin;\n"
                f"{rows}\\.\n"
                "COPY public.others (id) FROM stdin;\n1.00\n\\.\n"
            )
        case "insert":
            values = [f"({number}, 's', {quoted(item)}, NULL)" for number, item in enumerate(items)]
            inserts = "".join(f"INSERT INTO public.agent_messages VALUES {one};\n" for one in values)
        case "column-inserts":
            columns = "(id, session_id, message_data, created_at)"
            values = [f"({number}, 's', {quoted(item)}, NULL)" for number, item in enumerate(items)]
            inserts = f"INSERT INTO public.agent_messages {columns} VALUES\n" + ",\n".join(values) + ";\n"
        case _:
            raise AssertionError(form)
    session = "INSERT INTO public.agent_sessions VALUES ('s', '2024-01-02 03:04:05.678');\n"
    return TABLES + session + inserts + "INSERT INTO public.others VALUES (1.00);\n"


@pytest.mark.parametrize("form", ["copy", "insert", "column-inserts"])
async def test_each_form_of_a_dump_gives_the_same_texts(
    store: AsyncMongoStore, tmp_path: Path, form: str
) -> None:
    (tmp_path / "agents.sql").write_text(dump(form), encoding="utf-8", newline="")
    report = await Importer(store).run("agents", str(tmp_path / "agents.sql"))
    assert numbers(report, "messages") == (len(TEXTS), len(TEXTS), 0, 0, 0)
    assert [message.content async for message in store.sessions.messages.iter("s")] == TEXTS
    session = await store.sessions.get("s")
    assert session.created_at.isoformat() == "2024-01-02T03:04:05.678000+00:00"


async def test_a_torn_dump_is_refused(store: AsyncMongoStore, tmp_path: Path) -> None:
    text = dump("insert")
    (tmp_path / "agents.sql").write_text(text[: text.index("return")], encoding="utf-8")
    with pytest.raises(SourceError, match="ends in the middle of a row"):
        await Importer(store).run("agents", str(tmp_path / "agents.sql"))
    assert await store.sessions.count() == 0


async def test_a_server_that_is_not_there_is_an_error_of_ours(store: AsyncMongoStore) -> None:
    uri = "postgresql://ada:secret@127.0.0.1:1/none"
    with pytest.raises(ConfigurationError) as error:
        await Importer(store).run("director", uri, report=Report())
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("{}", []),
        ("{a,b}", ["a", "b"]),
        ('{"a b","c\\"d","e\\\\f",NULL,"NULL",""}', ["a b", 'c"d', "e\\f", None, "NULL", ""]),
    ],
)
def test_arrays_are_read_as_postgresql_writes_them(text: str, items: list[str | None]) -> None:
    assert read_array(text) == items
