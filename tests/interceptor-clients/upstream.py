"""A language model's server that holds no model: what it does, the name of the model says.

    upstream.py     prints its port, and serves on 127.0.0.1 until it is ended

echo          answers with the last words of the request
step          streams, and goes on when the client has asked at /step for it, after each chunk
crowd         streams, and begins when CROWD streams are there at once
endless       streams until the client goes away
status-NNN    fails with that status

What it has seen, it tells at /seen; that is for the checks.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How many streams a crowd is.
CROWD = 50

# How long it waits for a client, seconds.
PATIENCE = 20

# Pieces of an answer that is streamed.
PIECES = ["Zwei", " ", "Wörter", "."]

ERRORS = {
    401: {"x-request-id": "req-401", "www-authenticate": "Bearer"},
    429: {"x-request-id": "req-429", "retry-after": "17", "x-ratelimit-remaining-requests": "0"},
    500: {"x-request-id": "req-500"},
}

steps = threading.Semaphore(0)
crowd = threading.Barrier(CROWD)
lock = threading.Lock()
seen = {"headers": {}, "query": "", "closed": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/seen":
            with lock:
                self.answer(200, seen)
        elif path == "/step":
            steps.release()
            self.answer(200, {})
        elif path == "/v1/models":
            self.note()
            models = [{"id": name, "object": "model", "created": 1, "owned_by": "nobody"} for name in ("echo", "step")]
            self.answer(200, {"object": "list", "data": models})
        else:
            self.fail(404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.note()
        model = body["model"]
        if model.startswith("status-"):
            return self.fail(int(model.removeprefix("status-")))
        chats = {"/v1/chat/completions": Chat, "/v1/responses": Responses}
        form = chats.get(self.path.partition("?")[0])
        if form is None:
            return self.fail(404)
        if body.get("stream"):
            return self.stream(model, form())
        return self.answer(200, form().whole(model, body))

    def note(self):
        with lock:
            seen["headers"] = {name.lower(): value for name, value in self.headers.items()}
            seen["query"] = self.path.partition("?")[2]

    def answer(self, status, data, headers=()):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in dict(headers or {"x-request-id": "req-ok"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status):
        error = {"message": f"planted: {status}", "type": "planted", "param": None, "code": f"planted_{status}"}
        self.answer(status, {"error": error}, ERRORS.get(status, ()))

    def stream(self, model, form):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("x-request-id", "req-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            if model == "crowd":
                crowd.wait(PATIENCE)
            for number, piece in enumerate(pieces(model)):
                for event in form.part(model, piece, number):
                    self.chunk(event)
                if model == "step" and not steps.acquire(timeout=PATIENCE):
                    # The client has not had it: the stream breaks off.
                    self.close_connection = True
                    return
            for event in form.end(model):
                self.chunk(event)
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, threading.BrokenBarrierError):
            with lock:
                seen["closed"] += 1
            self.close_connection = True

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_):
        pass


def pieces(model):
    if model != "endless":
        return PIECES
    # Ends in any case, some time after the client should have gone.
    return endless(PATIENCE)


def endless(seconds):
    for _ in range(seconds * 20):
        yield "."
        threading.Event().wait(0.05)


class Chat:
    """POST /v1/chat/completions"""

    def whole(self, model, body):
        words = body["messages"][-1]["content"]
        message = {"role": "assistant", "content": words}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": choices, "usage": usage}

    def part(self, model, piece, number):
        delta = {"content": piece}
        if number == 0:
            delta["role"] = "assistant"
        yield self.data(model, delta, None)

    def end(self, model):
        yield self.data(model, {}, "stop")
        yield "data: [DONE]\n\n"

    def data(self, model, delta, reason):
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
        return f"data: {json.dumps(chunk)}\n\n"


class Responses:
    """POST /v1/responses"""

    def __init__(self):
        self.number = 0
        self.text = ""

    def whole(self, model, body):
        return self.response(model, "completed", body["input"])

    def part(self, model, piece, number):
        if number == 0:
            yield self.event("response.created", response=self.response(model, "in_progress"))
        self.text += piece
        yield self.event(
            "response.output_text.delta", item_id="m", output_index=0, content_index=0, delta=piece, logprobs=[]
        )

    def end(self, model):
        yield self.event("response.completed", response=self.response(model, "completed", self.text))

    def event(self, kind, **data):
        number, self.number = self.number, self.number + 1
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **data})}\n\n"

    def response(self, model, status, text=None):
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
        return {
            "id": "r",
            "object": "response",
            "created_at": 1,
            "model": model,
            "status": status,
            "output": [] if text is None else [message],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
        }


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 2 * CROWD


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
