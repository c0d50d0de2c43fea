"""A minimal proxy on fastapi, httpx and uvicorn, as such ones are written.

    proxy.py PORT TARGET

It reads a request as JSON and writes it anew, streams where that asks for it, and adds three headers.
"""

import json
import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

port, target = int(sys.argv[1]), sys.argv[2]
app = FastAPI()
client = httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=None))

IDENTITY = {"x-memory-user-id": "pycharm-project", "x-pycharm-instance": "pycharm-project", "x-source": "pycharm-ai-chat"}


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
async def forward(path: str, request: Request):
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    headers.update(IDENTITY)
    url = f"{target}/{path}"
    if request.method != "POST":
        answer = await client.request(request.method, url, headers=headers)
        return JSONResponse(answer.json(), answer.status_code)
    body = await request.json()
    content = json.dumps(body).encode()
    if body.get("stream"):

        async def chunks():
            async with client.stream("POST", url, headers=headers, content=content) as answer:
                async for chunk in answer.aiter_bytes():
                    yield chunk

        return StreamingResponse(chunks(), media_type="text/event-stream")
    answer = await client.post(url, headers=headers, content=content)
    return JSONResponse(answer.json(), answer.status_code)


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
