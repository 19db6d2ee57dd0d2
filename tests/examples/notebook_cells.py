"""Cells of a notebook: the blocking store works inside the event loop that Jupyter runs."""

# %%
from mongostore import MongoStore

store = MongoStore()  # MONGOSTORE_URI
store.open()
store.describe()

# %%
page = store.sessions.list(user_id="ada")
[(session.name, session.count, session.active_at) for session in page]

# %%
for message in store.sessions.messages.list(page[0].id, newest=True, limit=5):
    print(message.position, message.role, message.content)

# %%
print({name: store.sessions.in_namespace(name).count() for name in store.sessions.namespaces.iter()})

# %%
print([usage.collection for usage in store.usage() if usage.documents])

# %%
store.close()
