"""For Django, synchronous and asynchronous.

    MIDDLEWARE = [..., "django.contrib.auth.middleware.AuthenticationMiddleware",
                  "headwater_sdk.middleware.django.HeadwaterMiddleware"]
    HEADWATER = {"write_key": "...", "host": "https://events.example.com", "user_id": authenticated_user}

The keys of `HEADWATER` are the options of `Options`; `client` (a client, or the dotted path of one), or else any of
`Client`'s arguments under `client_options`; `write_key` and `host` may stand beside the options.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from headwater_sdk.middleware._visit import ANONYMOUS_COOKIE, YEAR_S, Nobody, Options, Visit, begin
from headwater_sdk.middleware.wsgi import request_of


def authenticated_user(request: HttpRequest) -> Optional[str]:
    """For the option `user_id`: the primary key of who is signed in (it asks the session and the database)."""
    user = getattr(request, "user", None)
    return str(user.pk) if user is not None and user.is_authenticated else None


class HeadwaterMiddleware:
    """Sends page views and binds the visitor to the calls made within a view."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        chosen = dict(getattr(settings, "HEADWATER", {}))
        self.get_response = get_response
        self.client = _client(chosen)
        self.options = Options.of(chosen)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve a request."""
        visit = begin(self.client, lambda: request_of(request.META, request.scheme), self.options, request)
        if self._is_async:
            return self._later(request, visit)
        with visit.bound():
            response = self.get_response(request)
        return _answered(visit, response)

    async def _later(self, request: HttpRequest, visit: Visit | Nobody) -> Any:
        with visit.bound():
            response = await self.get_response(request)
        return _answered(visit, response)


def _answered(visit: Visit | Nobody, response: Any) -> Any:
    cookie = visit.answer(response.status_code, lambda name: response.headers.get(name, ""))
    if cookie:
        response.set_cookie(
            ANONYMOUS_COOKIE,
            cookie.value,
            max_age=YEAR_S,
            domain=cookie.domain,
            secure=cookie.secure,
            samesite="Lax",
        )
    visit.seen(b"" if response.streaming else response.content[:65_536])
    return response


def _client(chosen: dict[str, Any]) -> Any:
    client = chosen.pop("client", None)
    given = {name: chosen.pop(name) for name in ("write_key", "host") if name in chosen}
    given.update(chosen.pop("client_options", {}))
    if isinstance(client, str):
        return import_string(client)
    if client is None and given:
        from headwater_sdk import Client

        return Client(**given)
    return client
