"""What topics, groups and transactional ids are called on a cluster that Callgate may share with others."""

from __future__ import annotations

import re
from dataclasses import dataclass

from callgate.events.topics import state_topic
from callgate.failures import BadInput

_LEGAL = re.compile(r"[A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True, slots=True)
class Names:
    """Names with a prefix. Raises BadInput for one that Kafka would not take."""

    prefix: str = ""

    def __post_init__(self) -> None:
        """Check the prefix: Kafka would refuse each topic by itself, in words of its own."""
        if _LEGAL.fullmatch(self.prefix) is None:
            raise BadInput(
                "CALLGATE_TOPIC_PREFIX",
                f"{self.prefix!r} can't stand in a topic's name",
                "Use up to 100 letters, digits, dots, dashes and underscores",
            )

    def topic(self, name: str) -> str:
        """A topic of the catalogue."""
        return self.prefix + name

    def bare(self, topic: str) -> str:
        """The catalogue's name of a topic of ours."""
        return topic.removeprefix(self.prefix)

    def state(self, group: str) -> str:
        """The state topic of a group."""
        return self.prefix + state_topic(group)

    def group(self, name: str) -> str:
        """A group's id."""
        return self.prefix + name

    def transactional(self, group: str, lease: int) -> str:
        """The transactional id of a lease: whoever starts a producer with it fences every earlier one."""
        return f"{self.prefix}{group}.{lease}"
