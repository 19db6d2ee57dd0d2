"""The studio: pages that show what is stored, and change little of it."""

from mongostore.extras import explain_import

try:
    from mongostore.servers.studio.app import create_app
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[studio]'", _error) from None

__all__ = ["create_app"]
