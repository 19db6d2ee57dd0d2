"""One module a framework, each imported by those who have that framework."""
