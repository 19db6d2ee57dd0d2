"""The settings of the environment: the `MONGOSTORE_…` variables."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from mongostore.errors import ConfigurationError


class IntegratorName(StrEnum):
    """The names of the integrators."""

    KEYWORDS = "keywords"
    OPENAI = "openai"


class Settings(BaseModel):
    """The `MONGOSTORE_…` variables, read when this is constructed.

    Attributes:
        uri: The address of the store: `mongomock://`, `mongodb://…`, `mongodb+srv://…` or `mongod:///folder`;
            else `mongomock://`, with a warning.
        database: The database, where neither the call nor the URI names one.
        prefix: The prefix of every collection's name, where the call names none.
        ensure_indexes: Whether opening a store creates missing indexes; false for users without that right.
        timeout: Seconds that one call may take, retries included.
        heartbeat: Seconds between heartbeats of a store on a sharded cluster while `watch` is used: without
            them, a shard without writes delays what it yields by up to ten seconds.
        mongod: The server binary that `mongod:///…` runs.
        integrator: The integrator of the sessions service: `keywords`, or `openai` for a
            model at an endpoint that speaks OpenAI's protocol.
        openai_base_url: That endpoint, such as `http://localhost:11434/v1`; else OpenAI's.
        openai_model: The model's name.
        openai_api_key: The key of that endpoint.

    Raises:
        ConfigurationError: If a variable has a value that cannot work; names the variable.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    # It may hold a password.
    uri: str | None = Field(default=None, repr=False)
    database: str | None = None
    prefix: str = ""
    ensure_indexes: bool = True
    timeout: float = Field(default=20.0, gt=0)
    heartbeat: float | None = Field(default=None, gt=0)
    mongod: Path | None = None
    integrator: IntegratorName = IntegratorName.KEYWORDS
    openai_base_url: str | None = None
    openai_model: str | None = None
    openai_api_key: SecretStr | None = None

    def __init__(self) -> None:
        variables = {name: os.environ.get(f"MONGOSTORE_{name.upper()}") for name in type(self).model_fields}
        try:
            super().__init__(**{name: text for name, text in variables.items() if text})
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            reasons = (f"MONGOSTORE_{str(detail['loc'][0]).upper()}: {detail['msg']}" for detail in wrong)
            raise ConfigurationError("; ".join(reasons)) from None
