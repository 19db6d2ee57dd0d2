"""Sessions of the OpenAI Agents SDK in MongoDB.

`await Runner.run(agent, "Hello", session=MongoSession("ada-1", user_id="ada"))`; objects with the same URI
and database share one client.
"""

from mongostore.extras import explain_import

try:
    from mongostore.adapters.openai_agents.session import NAMESPACE, MongoSession
except ImportError as _error:
    raise explain_import(__name__, "pip install 'mongostore[openai-agents]'", _error) from None

__all__ = ["NAMESPACE", "MongoSession"]
