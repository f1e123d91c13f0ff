"""From the response in a turn to its calls. Pure, and total: any bytes give a reading or `Unreadable`."""

from __future__ import annotations

from callgate.events.turns import ResponseFormat
from callgate.proposer.calls import Reading, Unreadable
from callgate.proposer.chat import read_chat
from callgate.proposer.responses import read_response
from callgate.tools import strict_json


def read(format_: ResponseFormat, response: bytes) -> Reading:
    """The calls of a response. Raises `Unreadable`, with a reason for the agent."""
    try:
        value = strict_json.loads(response)
    except strict_json.NotStrict as error:
        message = f"the response is not valid JSON: {error}"
        raise Unreadable(message) from error
    return read_response(value) if format_ == "responses" else read_chat(value)
