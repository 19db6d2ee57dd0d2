"""The base of Beanie's documents, whose own package has no types."""

from pydantic import BaseModel

class LazyModel(BaseModel): ...
