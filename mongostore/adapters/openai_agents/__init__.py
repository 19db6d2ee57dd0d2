"""Sessions of the OpenAI Agents SDK in MongoDB.

`await Runner.run(agent, "Hello", session=MongoSession("ada-1", user_id="ada"))`; objects with the same URI
and database share one client.
"""

from mongostore.adapters.openai_agents.session import NAMESPACE, MongoSession

__all__ = ["NAMESPACE", "MongoSession"]
