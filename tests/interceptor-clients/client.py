"""Talks through an interceptor to tests/interceptor-clients/upstream.py, as programs do that use the `openai` package.

    client.py INTERCEPTOR UPSTREAM            the fake server is the interceptor's target
    client.py --litellm INTERCEPTOR UPSTREAM  LiteLLM's proxy is, and the fake server stands behind that

INTERCEPTOR is the address that the interceptor tells, UPSTREAM http://127.0.0.1:PORT. Prints a line for each check
and how many passed; exit code 1 where one failed.
"""

import asyncio
import json
import sys
import time
import traceback
import urllib.request

import openai

from upstream import CROWD, PATIENCE, PIECES

WHOLE = "".join(PIECES)
KEY = "sk-of-the-client"
WORDS = 'Grüße,\n\t"1E0" \\u00e9 😀'


def messages(words=WORDS):
    return [{"role": "user", "content": words}]


class Checks:
    """The fake server is the target."""

    def __init__(self, interceptor, upstream):
        self.base = interceptor
        self.upstream = upstream
        settings = {"base_url": interceptor, "api_key": KEY, "max_retries": 0, "timeout": 2 * PATIENCE}
        self.client = openai.OpenAI(**settings)
        self.settings = settings

    def ask(self, path):
        with urllib.request.urlopen(self.upstream + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def chat(self):
        answer = self.client.chat.completions.with_raw_response.create(model="echo", messages=messages())
        assert answer.parse().choices[0].message.content == WORDS
        assert answer.headers["x-request-id"] == "req-ok"

    def headers_of_a_request(self):
        self.client.models.list(extra_query={"a b": "c/%2F"}, extra_headers={"x-memory-user-id": "somebody-else"})
        seen = self.ask("/seen")
        headers = seen["headers"]
        assert headers["authorization"] == f"Bearer {KEY}"
        assert headers["user-agent"].startswith("OpenAI/Python"), headers["user-agent"]
        assert headers["x-source"] == "pycharm-ai-chat"
        assert headers["x-memory-user-id"] == headers["x-pycharm-instance"]
        assert headers["x-memory-user-id"].startswith("a-project-"), headers["x-memory-user-id"]
        assert headers["host"] == self.upstream.removeprefix("http://"), headers["host"]
        assert seen["query"] == "a+b=c%2F%252F", seen["query"]

    def models(self):
        assert [model.id for model in self.client.models.list()] == ["echo", "step"]

    def chat_streamed(self):
        """Each chunk is made only when the one before has arrived."""
        stream = self.client.chat.completions.create(model="step", messages=messages(), stream=True)
        got = []
        for chunk in stream:
            if chunk.choices[0].delta.content:
                got.append(chunk.choices[0].delta.content)
                self.ask("/step")
        assert got == PIECES, got

    def response(self):
        answer = self.client.responses.create(model="echo", input=WORDS)
        assert answer.output_text == WORDS

    def response_streamed(self):
        got, end = [], None
        for event in self.client.responses.create(model="step", input=WORDS, stream=True):
            if event.type == "response.output_text.delta":
                got.append(event.delta)
                self.ask("/step")
            elif event.type == "response.completed":
                end = event.response.output_text
        assert got == PIECES, got
        assert end == WHOLE, end

    def error(self, kind, status, stream, headers):
        try:
            self.client.chat.completions.create(model=f"status-{status}", messages=messages(), stream=stream)
        except kind as error:
            assert error.status_code == status, error.status_code
            assert error.code == f"planted_{status}", error.code
            assert error.body["message"] == f"planted: {status}", error.body
            for name, value in headers.items():
                assert error.response.headers.get(name) == value, (name, error.response.headers)
            return
        raise AssertionError(f"no {kind.__name__}")

    def unauthorized(self):
        headers = {"x-request-id": "req-401", "www-authenticate": "Bearer"}
        for stream in (False, True):
            self.error(openai.AuthenticationError, 401, stream, headers)

    def too_many_requests(self):
        headers = {"x-request-id": "req-429", "retry-after": "17", "x-ratelimit-remaining-requests": "0"}
        for stream in (False, True):
            self.error(openai.RateLimitError, 429, stream, headers)

    def server_error(self):
        for stream in (False, True):
            self.error(openai.InternalServerError, 500, stream, {"x-request-id": "req-500"})

    def not_found(self):
        try:
            self.client.post("/no/such/path", body={"model": "echo"}, cast_to=object)
        except openai.NotFoundError as error:
            assert error.code == "planted_404", error.code
            return
        raise AssertionError("no NotFoundError")

    def streams_at_once(self):
        """None of them begins before all of them are there."""

        async def one(client):
            stream = await client.chat.completions.create(model="crowd", messages=messages(), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def all_of_them():
            async with openai.AsyncOpenAI(**self.settings) as client:
                return await asyncio.gather(*(one(client) for _ in range(CROWD)))

        assert asyncio.run(all_of_them()) == [WHOLE] * CROWD

    def abort(self):
        """Who stops reading ends the answer for the target as well."""
        closed = self.ask("/seen")["closed"]
        stream = self.client.chat.completions.create(model="endless", messages=messages(), stream=True)
        assert next(iter(stream)).choices[0].delta.content == "."
        assert self.open_streams() == 1, self.open_streams()
        stream.close()
        wait_until(lambda: self.ask("/seen")["closed"] == closed + 1, PATIENCE / 4)
        wait_until(lambda: self.open_streams() == 0, PATIENCE / 4)

    def open_streams(self):
        address = self.base.removesuffix("/v1") + "/.portclaim/metrics"
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            for line in answer.read().decode().splitlines():
                name, _, value = line.partition(" ")
                if name == "portclaim_interceptor_open_streams":
                    return int(value)
        raise AssertionError("the metric is not there")

    def all(self):
        return [
            self.chat,
            self.headers_of_a_request,
            self.models,
            self.chat_streamed,
            self.response,
            self.response_streamed,
            self.unauthorized,
            self.too_many_requests,
            self.server_error,
            self.not_found,
            self.streams_at_once,
            self.abort,
        ]


class ThroughLiteLLM(Checks):
    """LiteLLM's proxy is the target. What it makes of errors and headers is its own affair."""

    def chat(self):
        answer = self.client.chat.completions.with_raw_response.create(model="echo", messages=messages())
        assert answer.parse().choices[0].message.content == WORDS
        assert any(name.startswith("x-litellm-") for name in answer.headers), answer.headers

    def identity(self):
        """LiteLLM hands the header on, as its configuration tells it."""
        self.client.chat.completions.create(model="echo", messages=messages())
        headers = self.ask("/seen")["headers"]
        assert headers.get("x-memory-user-id", "").startswith("a-project-"), headers

    def models(self):
        assert {"echo", "step"} <= {model.id for model in self.client.models.list()}

    def chat_streamed(self):
        """LiteLLM may keep a chunk back, but not all of them."""
        stream = self.client.chat.completions.create(model="step", messages=messages(), stream=True)
        got = []
        self.ask("/step")
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                got.append(chunk.choices[0].delta.content)
                self.ask("/step")
        assert "".join(got) == WHOLE, got
        assert len(got) > 1, got

    def too_many_requests(self):
        """An error of the model, as LiteLLM words it."""
        for stream in (False, True):
            try:
                self.client.chat.completions.create(model="status-429", messages=messages(), stream=stream)
            except openai.RateLimitError as error:
                assert "planted: 429" in error.message, error.message
                continue
            raise AssertionError("no RateLimitError")

    def all(self):
        return [self.chat, self.identity, self.models, self.chat_streamed, self.too_many_requests, self.streams_at_once]


def wait_until(holds, seconds):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def main(arguments):
    kind = Checks
    if arguments[:1] == ["--litellm"]:
        kind = ThroughLiteLLM
        del arguments[0]
    failed = 0
    checks = kind(*arguments).all()
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            check()
            print(f"ok      {name}", flush=True)
        except Exception as error:
            failed += 1
            # Which line of this file; what libraries do below it says little.
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
            print(f"FAILED  {name}: line {lines[-1]}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed (openai {openai.__version__})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
