"""A chat service in Flask: one store serves all threads of a process."""

from flask import Flask, Response, jsonify, request

from mongostore import ConflictError, Message, MongoStore, NotFoundError

app = Flask(__name__)
store = MongoStore()  # MONGOSTORE_URI
store.open()


@app.post("/sessions/<session_id>/messages")
def post(session_id: str) -> tuple[Response, int]:
    body = request.get_json()
    message = Message(id=body["id"], role="user", content=body["text"])
    try:
        stored = store.sessions.messages.append(session_id, message, create=True)
    except ConflictError as error:
        return jsonify(error=str(error)), 409
    return jsonify(position=stored.position), 201


@app.get("/sessions/<session_id>/messages")
def read(session_id: str) -> tuple[Response, int]:
    try:
        page = store.sessions.messages.list(session_id, newest=True, cursor=request.args.get("cursor"))
    except NotFoundError as error:
        return jsonify(error=str(error)), 404
    messages = [message.model_dump(mode="json") for message in page]
    return jsonify(messages=messages, cursor=page.next_cursor), 200
