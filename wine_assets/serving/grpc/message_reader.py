"""The one message of a call, as bytes, which is waited for a while."""

import asyncio
from typing import Any

import grpc

from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc.status_codes import LateError

PATIENCE, HURRY_S = 64, 1.0
"""How many messages may take their time to come, and the seconds that each has which comes beside so many.

The library holds what has come of a message and doesn't say how much that is, so this and not a number of bytes bounds
what those fill who send slowly. A message that comes at once is never kept out.
"""
_CANCELLED_S = 0.05
"""The library ends a message that it refuses, or whose client went, as if there were none, and then cancels the call.
Until it would have, a call isn't said to have no message.
"""


class Incoming:
    """Reads messages, and knows how many are being waited for."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._awaited = 0

    async def read(self, context: Any) -> bytes:
        """Return the message of a call; raise LateError, or InvalidRequestError unless there is exactly one."""
        seconds = self._deadline_s if self._awaited < PATIENCE else min(HURRY_S, self._deadline_s)
        self._awaited += 1
        try:
            async with asyncio.timeout(seconds):
                content = await context.read()
                if content is not grpc.aio.EOF:  # a client that still has its end to send could lose the answer
                    rest = await context.read()
        except TimeoutError:
            raise LateError(f"The message of the call has to arrive in {seconds:g} s, and didn't.") from None
        finally:
            self._awaited -= 1
        if content is grpc.aio.EOF:
            await asyncio.sleep(_CANCELLED_S)
            raise InvalidRequestError("The call has no message. Send one.")
        if rest is not grpc.aio.EOF:
            raise InvalidRequestError("The call has more than one message. Send one.")
        return content  # type: ignore[no-any-return]
