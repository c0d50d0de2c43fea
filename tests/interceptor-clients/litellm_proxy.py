"""LiteLLM's proxy on a port that is free, which it prints when it serves. CONFIG_FILE_PATH names its configuration."""

import os
import socket
import sys

# LiteLLM prints as well, and reads prices from elsewhere.
out, sys.stdout = sys.stdout, sys.stderr
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import uvicorn  # noqa: E402
from litellm.proxy.proxy_server import app  # noqa: E402


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        if not self.should_exit:
            print(sockets[0].getsockname()[1], file=out, flush=True)


with socket.create_server(("127.0.0.1", 0)) as listener:
    Server(uvicorn.Config(app, log_level="warning")).run([listener])
