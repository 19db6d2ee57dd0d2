"""One person over everything that is stored, and what an erasure did."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mongostore.models.model import Model

ErasureMode = Literal["delete", "anonymize"]
Relation = Literal["owner", "participant", "author", "identity"]


class Person(Model):
    """One person, under all names that the store knows.

    Attributes:
        names: Ids and identifiers of users, ids of identities with their addresses, owners and participants.
        counts: How many documents of each collection are theirs or name them.
        namespaces: The namespaces; None for all.
        organization_id: The organization of the rooms and identities; None for all.
    """

    names: list[str]
    counts: dict[str, int]
    namespaces: list[str] | None = None
    organization_id: str | None = None


class PersonRecord(Model):
    """One stored thing of a person, as an export writes it.

    Attributes:
        collection: Where it is stored.
        id: Its id there.
        relation: `owner` of it, `participant` in it, `author` of it, or the `identity` that it describes.
        value: It, as JSON.
    """

    collection: str
    id: str
    relation: Relation
    value: dict[str, Any] = Field(default_factory=dict)


class ErasureLine(Model):
    """The documents of one collection that an erasure changed, or would change.

    Attributes:
        deleted: How many documents, with all of their parts.
        anonymized: How many documents that stay, without names and words.
    """

    collection: str
    deleted: int = 0
    anonymized: int = 0


class ErasureReport(Model):
    """The result of an erasure, or of its dry run.

    Attributes:
        lines: One for each collection in which there was something.
        errors: The documents that could not be erased, with the reason.
    """

    names: list[str]
    mode: ErasureMode
    dry_run: bool
    lines: list[ErasureLine] = Field(default_factory=list)
    errors: list[str] = Field(default_factory=list)
