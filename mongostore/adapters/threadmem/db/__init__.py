"""Where threadmem's users import its records from."""
