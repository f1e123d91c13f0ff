"""What is said of a signature that JSON can't express."""

from __future__ import annotations


class Untypable(ValueError):  # noqa: N818 - it is said of the signature
    """The signature has no JSON Schema. The message names the parameter and the reason."""
