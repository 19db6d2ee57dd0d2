"""Puts the stand-ins into a process that one of RoomKit's tests starts; Python imports this by its name."""

import os

if "MONGOSTORE_STAND_IN_DATABASES" in os.environ:
    import roomkit_plugin  # noqa: F401
