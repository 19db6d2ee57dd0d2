"""What the child processes share."""

from mongostore.repositories.sessions import history, tail, writing


def roll_at(keep: int, full: int) -> None:
    """Have tails roll at another number of messages; 0 leaves it as it is."""
    for module in (history, tail, writing):
        for name, value in (("KEEP", keep), ("FULL", full)):
            if value and hasattr(module, name):
                setattr(module, name, value)
