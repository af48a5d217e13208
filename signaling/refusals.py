# SPDX-License-Identifier: Apache-2.0
"""What HTTP requests are refused with: the same three texts as in the websocket's `error`, as JSON."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from sfu.rooms.errors import RoomError
from signaling.auth import AuthError

logger = logging.getLogger(__name__)

STATUS_OF: Final = {"not_found": 404, "forbidden": 403}
BAD_REQUEST: Final = 400


class HttpError(Exception):
    def __init__(self, status: int, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.status: Final = status
        self.code: Final = code
        self.message: Final = message
        self.advice: Final = advice


@web.middleware
async def answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (HttpError, AuthError) as error:
        return _refused(error.status, error.code, error.message, error.advice)
    except RoomError as error:
        return _refused(STATUS_OF.get(error.code, BAD_REQUEST), error.code, error.message, error.advice)


def _refused(status: int, code: str, message: str, advice: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return web.json_response({"code": code, "message": message, "advice": advice}, status=status, headers=headers)
