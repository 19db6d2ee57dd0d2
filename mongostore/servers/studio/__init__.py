"""The studio: pages that show what is stored, and change nothing."""

from mongostore.servers.studio.app import create_app

__all__ = ["create_app"]
