"""Users: they sign up, log in, and hold refresh tokens that are good for once."""

from __future__ import annotations

import hashlib
import hmac

from callgate.events.ids import fingerprint
from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.store import Store

_USERS, _TOKENS = "users", "refresh_tokens"
_LEAST = 8


class Accounts:
    """The endpoints of users. Access tokens guard nothing: any bearer token is taken."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve, without credentials."""
        return [
            ("POST", "/auth/signup", self.signup),
            ("POST", "/auth/login", self.login),
            ("POST", "/auth/refresh", self.refresh),
            ("POST", "/auth/logout", self.logout),
        ]

    def signup(self, call: Call) -> Body:
        """A new user. An address that is taken is 422, since the SDK would repeat a 409."""
        email, password = _email(call), call.needed("password")
        if len(password) < _LEAST:
            raise invalid(("password", f"must have at least {_LEAST} characters"))
        if self._things.get(_USERS, email) is not None:
            raise Refused(422, "email_taken", "there is a user of this address: log in")
        user: Body = {"user_id": self._things.number(_USERS), "password": _digest(email, password), "role": "owner"}
        return self._tokens(self._things.put(_USERS, email, user))

    def login(self, call: Call) -> Body:
        """Tokens. A wrong password and an unknown address are refused alike."""
        email, password = _email(call), call.needed("password")
        user = self._things.get(_USERS, email)
        if user is None or not hmac.compare_digest(str(user["password"]), _digest(email, password)):
            raise Refused(401, "wrong_credentials", "the address or the password is wrong")
        return self._tokens(user)

    def refresh(self, call: Call) -> Body:
        """New tokens for a refresh token, which is used up."""
        return self._tokens(self._used(call))

    def logout(self, call: Call) -> Body:
        """The refresh token is good for nothing more."""
        self._used(call)
        return {"success": True}

    def _used(self, call: Call) -> Body:
        name = fingerprint("refresh token", call.needed("refresh_token"))
        user = self._things.get(_TOKENS, name)
        if user is None:
            raise Refused(401, "dead_token", "the refresh token is unknown, or was used: log in again")
        self._things.drop(_TOKENS, name)
        return user

    def _tokens(self, user: Body) -> Body:
        number = self._things.number(_TOKENS)
        token = f"rt_{fingerprint('sandbox refresh token', number)}"
        shown: Body = {"user_id": user["user_id"], "role": user["role"]}
        self._things.put(_TOKENS, fingerprint("refresh token", token), shown)
        access = f"at_{fingerprint('sandbox access token', number)}"
        return {"token_type": "bearer", "access_token": access, "refresh_token": token, **shown}


def _email(call: Call) -> str:
    email = call.needed("email").strip().lower()
    if not email.partition("@")[2]:
        raise invalid(("email", "must be an address"))
    return email


def _digest(email: str, password: str) -> str:
    """Cheap, since a sandbox has nothing to guard, but no password lies about in clear."""
    return hashlib.scrypt(password.encode(), salt=email.encode(), n=1024, r=8, p=1).hex()
