"""Conversations of Pydantic AI in MongoDB.

`MongoConversationStore()` is a `ConversationStore`: for `load` and `save` around a run, and for
`conversation_store=` of the adapters of the Vercel AI and AG-UI protocols.
"""

from mongostore.adapters.pydantic_ai.store import NAMESPACE, MongoConversationStore

__all__ = ["NAMESPACE", "MongoConversationStore"]
