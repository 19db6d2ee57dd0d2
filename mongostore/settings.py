"""What the environment says: the `MONGOSTORE_…` variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mongostore.errors import ConfigurationError


class Settings(BaseSettings):
    """The `MONGOSTORE_…` variables, read when this is constructed.

    Attributes:
        uri: Where conversations are kept: `mongomock://`, `mongodb://…`, `mongodb+srv://…` or `mongod:///folder`.
        database: The database, where neither the call nor the URI names one.
        ensure_indexes: Whether opening a store creates missing indexes; false for users who may not.
        timeout: Seconds that one call may take, retries included.
        mongod: The server binary that `mongod:///…` runs.

    Raises:
        ConfigurationError: A variable has a value that cannot be; names the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix="MONGOSTORE_", env_ignore_empty=True, hide_input_in_errors=True
    )

    uri: str = "mongomock://"
    database: str | None = None
    ensure_indexes: bool = True
    timeout: float = Field(default=20.0, gt=0)
    mongod: Path | None = None

    def __init__(self) -> None:
        try:
            super().__init__()
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)
            reasons = (f"MONGOSTORE_{str(detail['loc'][0]).upper()}: {detail['msg']}" for detail in wrong)
            raise ConfigurationError("; ".join(reasons)) from None
