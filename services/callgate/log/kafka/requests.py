"""Two requests that the library does not speak, in the oldest versions that do what is needed.

Its own alter request replaces all settings of a topic at once, and would take back what somebody else sets meanwhile;
its own metadata request can't ask for topics without having them made, nor for what we are allowed to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

_TOPIC, _SET = 2, 0


class _AlteredV0(Response):  # type: ignore[misc] # the library is untyped
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterV0(RequestStruct):  # type: ignore[misc] # the library is untyped
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlteredV0
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class AlterTopics(Request[_AlterV0]):  # type: ignore[misc] # the library is untyped
    """Set some settings of some topics, and leave all others as they are."""

    API_KEY = 44

    def __init__(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """`settings` are by topic and name."""
        self._settings = settings

    def build(self, request_struct_class: type[_AlterV0]) -> _AlterV0:
        """See `Request.build`."""
        resources = [
            (_TOPIC, topic, [(name, _SET, value) for name, value in sorted(settings.items())])
            for topic, settings in sorted(self._settings.items())
        ]
        return request_struct_class(resources, False)  # noqa: FBT003 - not only validated


class _MetadataV8(Response):  # type: ignore[misc] # the library is untyped
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _AskMetadataV8(RequestStruct):  # type: ignore[misc] # the library is untyped
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataV8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicMetadata(Request[_AskMetadataV8]):  # type: ignore[misc] # the library is untyped
    """Ask about topics by name; none is made by asking."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        """`topics` with their prefix."""
        self._topics = topics

    def build(self, request_struct_class: type[_AskMetadataV8]) -> _AskMetadataV8:
        """See `Request.build`."""
        create, ask = False, True
        return request_struct_class(list(self._topics), create, ask, ask)


def decoded(response: Any) -> dict[str, Any]:
    """An answer by the names of its fields."""
    found: dict[str, Any] = response.to_object()
    return found
