"""Where threadmem's users import its schemas from."""
