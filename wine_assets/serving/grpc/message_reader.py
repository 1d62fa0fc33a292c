"""Reading of a call's message within a deadline."""

import asyncio
from typing import Any

import grpc

from wine_assets.serving.errors import InvalidRequestError
from wine_assets.serving.grpc.status_codes import DeadlineError

MAX_SLOW_READS, SHORT_DEADLINE_S = 64, 1.0
"""Number of messages that may arrive slowly, and the deadline of further messages.

grpcio buffers incomplete messages and doesn't report their size. These two limits bound the memory that slow clients
use. A message that arrives at once is never rejected.
"""
_CANCELLATION_S = 0.05
"""Time in which grpcio cancels a call that it rejects, or whose client disconnected.

Before, it reports the end of such a call as if the call had no message.
"""


class MessageReader:
    """Reads messages, and counts the pending ones."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._pending = 0

    async def read(self, context: Any) -> bytes:
        """Return the message of a call; raise DeadlineError, or InvalidRequestError unless there is exactly one."""
        seconds = self._deadline_s if self._pending < MAX_SLOW_READS else min(SHORT_DEADLINE_S, self._deadline_s)
        self._pending += 1
        try:
            async with asyncio.timeout(seconds):
                content = await context.read()
                if content is not grpc.aio.EOF:  # else a client that still sends could lose the response
                    rest = await context.read()
        except TimeoutError:
            raise DeadlineError(f"The message of the call has to arrive in {seconds:g} s, and didn't.") from None
        finally:
            self._pending -= 1
        if content is grpc.aio.EOF:
            await asyncio.sleep(_CANCELLATION_S)
            raise InvalidRequestError("The call has no message. Send one.")
        if rest is not grpc.aio.EOF:
            raise InvalidRequestError("The call has more than one message. Send one.")
        return content  # type: ignore[no-any-return]  # grpcio has no types
