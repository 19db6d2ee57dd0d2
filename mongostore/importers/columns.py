"""Columns of SQL tables as the values that they were before a database took them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from mongostore.importers.postgres import read_array
from mongostore.importers.report import Report
from mongostore.importers.tables import Row, Tables


class Columns:
    """Reads the rows of one table.

    Args:
        tables: The source.
        table: The table.
        report: Collects the values that do not fit the column's type.
        key: The column that the report names a row by.
    """

    def __init__(self, tables: Tables, table: str, report: Report, key: str = "id") -> None:
        self._table = table
        self._report = report
        self._key = key
        types = tables.types(table)
        self._booleans = {name for name, type_name in types.items() if type_name.startswith("BOOL")}
        self._json = {name for name, type_name in types.items() if type_name.startswith("JSON")}
        self._lists = {name for name, type_name in types.items() if type_name.endswith("[]")}

    def read(self, row: Row, leave_out: Collection[str] = ()) -> dict[str, Any]:
        """Return the values of a row that are not NULL, by their columns."""
        values = {}
        for name, value in row.items():
            if value is None or name in leave_out:
                continue
            if name in self._json:
                value = self.read_json(row, name)
            elif name in self._lists:
                value = self.read_list(row, name)
            elif name in self._booleans and value in (0, 1):
                value = bool(value)
            if value is not None:
                values[name] = value
        return values

    def read_json(self, row: Row, column: str) -> Any:
        """Return the JSON of a column; its text, which is reported, if that is none."""
        text = row.get(column)
        if not isinstance(text, str):
            return text
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self._report.warn(self._table, row[self._key], f"{column} is not JSON: kept as text")
            return text

    def read_object(self, row: Row, column: str) -> dict[str, Any]:
        """Return the JSON object of a column; what is none is reported and kept in a member."""
        value = self.read_json(row, column)
        if value is None or isinstance(value, dict):
            return value or {}
        return {column: value}

    def read_list(self, row: Row, column: str) -> list[str]:
        """Return the texts of a list, which is JSON or an array of PostgreSQL."""
        text = row.get(column)
        if not isinstance(text, str):
            return []
        try:
            value: Any = read_array(text) if text.strip().startswith("{") else json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        self._report.warn(self._table, row[self._key], f"{column} is no list of texts: left out")
        return []
