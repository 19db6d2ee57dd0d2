"""Tasks of Celery: one store in the module, which each worker process opens for itself."""

from celery import Celery, signals

from mongostore import Message, MongoStore, UnavailableError

app = Celery("chat", broker="redis://localhost")
store = MongoStore(timeout=5.0)  # MONGOSTORE_URI


@signals.worker_process_init.connect
def connect(**_: object) -> None:
    store.open()


@app.task(autoretry_for=(UnavailableError,), retry_backoff=True, max_retries=5)
def summarize(session_id: str, task_id: str) -> int:
    texts = [str(message.content) for message in store.sessions.messages.iter(session_id)]
    summary = Message(id=f"summary-{task_id}", role="system", content=" ".join(texts)[:500])
    if (stored := store.sessions.messages.find(session_id, summary.id)) is None:
        stored = store.sessions.messages.append(
            session_id, summary, update={"metadata": {"summarized": True}}
        )
    assert stored.position is not None
    return stored.position
