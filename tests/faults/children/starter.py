"""Opens a store on a database that others open too, and writes. Arguments: URI, database, its number."""

import sys

from mongostore import Message, MongoStore

uri, database, number = sys.argv[1:]
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
with MongoStore(uri, database) as store:
    store.sessions.create(number)
    store.sessions.messages.append(number, Message(role="user", content=number))
    store.rooms.create(number)
