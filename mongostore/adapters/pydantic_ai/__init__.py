"""Conversations of Pydantic AI in MongoDB.

`MongoConversationStore()` is a `ConversationStore`: for `load` and `save` around a run, and for
`conversation_store=` of the adapters of the Vercel AI and AG-UI protocols.
"""

from mongostore.extras import explain_import

try:
    from mongostore.adapters.pydantic_ai.store import NAMESPACE, MongoConversationStore
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[pydantic-ai]'", _error) from None

__all__ = ["NAMESPACE", "MongoConversationStore"]
