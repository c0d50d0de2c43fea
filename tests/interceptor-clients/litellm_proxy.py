"""LiteLLM's proxy on a port that is free, which it prints when it serves. CONFIG_FILE_PATH names its configuration."""

import socket

import uvicorn
from litellm.proxy.proxy_server import app


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        if not self.should_exit:
            print(sockets[0].getsockname()[1], flush=True)


with socket.create_server(("127.0.0.1", 0)) as listener:
    Server(uvicorn.Config(app, log_level="warning")).run([listener])
