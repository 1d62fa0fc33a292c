"""How much of bodies is held in memory, until they are answered."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from wine_assets.serving.http.allowed_hosts import AllowedHosts
from wine_assets.serving.http.body_memory import SMALL_BYTES, BodyMemory
from wine_assets.serving.http.connection import LimitedConnection, Limits

BODY = 2 * SMALL_BYTES
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % BODY


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        self.asked += 1
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": body[:1]})


async def _served(body_memory: BodyMemory, slow: Slow) -> asyncio.Server:
    limits = Limits(
        header_bytes=1 << 15,
        body_bytes=2 * BODY,
        header_deadline_s=60,
        body_deadline_s=60,
        idle_s=60,
        connections=10,
        body_memory=body_memory,
        allowed_hosts=AllowedHosts(frozenset({"localhost"})),
        on_rejection=lambda _: None,
    )
    config, state = uvicorn.Config(slow, http="httptools", lifespan="off", log_config=None), ServerState()
    config.load()

    def connection() -> LimitedConnection:
        return LimitedConnection(limits, config=config, server_state=state, app_state={})

    return await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)


async def _sent(port: int, requests: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((HEAD + b"x" * BODY) * requests)
    await writer.drain()
    return reader, writer


async def _whole_bodies_count() -> None:
    body_memory, slow = BodyMemory(3 * BODY), Slow()
    async with await _served(body_memory, slow) as server:
        port = server.sockets[0].getsockname()[1]
        first, writer = await _sent(port, 3)  # one that is answered, and two that wait for it
        while body_memory.allocated < 3 * BODY:  # noqa: ASYNC110 - there is nothing else that says so
            await asyncio.sleep(0.01)
        assert slow.asked == 1
        second, other = await _sent(port, 1)
        assert b"503" in await second.readline()
        slow.may_answer.set()
        assert [await _answer(first) for _ in range(3)] == [b"x", b"x", b"x"]
        writer.close()
        other.close()
        while body_memory.allocated:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)


async def _those_who_go_take_nothing_along() -> None:
    body_memory, slow = BodyMemory(8 * BODY), Slow()
    async with await _served(body_memory, slow) as server:
        _, writer = await _sent(server.sockets[0].getsockname()[1], 4)
        while body_memory.allocated < 4 * BODY:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while body_memory.allocated > BODY:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        slow.may_answer.set()
        while body_memory.allocated:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)


async def _answer(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(1)


def test_a_whole_body_counts_until_it_is_answered() -> None:
    asyncio.run(asyncio.wait_for(_whole_bodies_count(), 60))


def test_disconnect_frees_pipelined_bodies() -> None:
    """A client that disconnects frees the memory of its queued requests."""
    asyncio.run(asyncio.wait_for(_those_who_go_take_nothing_along(), 60))
