"""One request of a visitor, from its headers to the page view: the part that all three middlewares share.

Nothing here raises: what goes wrong is logged, and the request goes on as if the middleware were not there.
"""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Mapping, NamedTuple, Optional, Pattern, Sequence, Union

from headwater_sdk._context import bind
from headwater_sdk._log import log
from headwater_sdk.middleware import _page
from headwater_sdk.middleware._page import Address, Request

YEAR_S = 31_536_000
ANONYMOUS_COOKIE = "ajs_anonymous_id"
Rule = Union[str, Pattern[str]]


class Options(NamedTuple):
    """The options of each middleware; functions get the framework's own request (ASGI scope, WSGI environ, HttpRequest).

    * `include`, `exclude`: paths, as prefixes or compiled patterns; by default all paths are page views.
    * `page_views`: False sends none and only binds the visitor to the calls within a request.
    * `user_id`, `account`: who is signed in; without it the cookie `ajs_user_id` counts.
    * `set_cookie`: whether a visitor without an id gets one, True, False or a function; an answer that caches may share
      (`public`, `s-maxage`) never carries one. Without an id there is no page view.
    * `cookie_domain`: such as `example.com` for all its hosts, as the browser SDK does; by default this host only.
    * `consent`: a function, or the name of a cookie with a JSON object of categories: `context.consent` of all calls.
    * `opt_out`: a function, or the name of a cookie whose presence (other than `0` and `false`) means no.
    * `respect_gpc`, `respect_dnt`: take Global Privacy Control or Do Not Track for an opt-out.
    * `trust_proxy`: how many proxies of your own set `X-Forwarded-For`, `-Proto` and `-Host`; by default none is believed.
    """

    include: Optional[Sequence[Rule]] = None
    exclude: Sequence[Rule] = ()
    page_views: bool = True
    user_id: Optional[Callable[[Any], Optional[str]]] = None
    account: Optional[Callable[[Any], Optional[str]]] = None
    set_cookie: Union[bool, Callable[[Any], bool]] = True
    cookie_domain: Optional[str] = None
    consent: Union[str, Callable[[Any], Optional[Mapping[str, bool]]], None] = None
    opt_out: Union[str, Callable[[Any], bool], None] = None
    respect_gpc: bool = False
    respect_dnt: bool = False
    trust_proxy: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Check options when the app starts; TypeError or ValueError says what is wrong."""
        unknown = sorted(set(given) - set(cls._fields))
        if unknown:
            raise TypeError(f"{unknown[0]} is no option; there are {', '.join(cls._fields)}")
        options = cls(**given)
        for name in ("include", "exclude"):
            if isinstance(given.get(name), str):
                raise TypeError(f"{name} is {given[name]!r}; pass a list, like [{given[name]!r}]")
        if isinstance(options.trust_proxy, bool) or not options.trust_proxy >= 0:
            raise ValueError(
                f"trust_proxy is {options.trust_proxy!r}; it must be the number of your own proxies"
            )
        return options


class Cookie(NamedTuple):
    """A cookie to set."""

    value: str
    domain: Optional[str]
    secure: bool

    def header(self) -> str:
        """Write it as Set-Cookie; scripts may read it, for the browser SDK does."""
        where = f"; Domain={self.domain}" if self.domain else ""
        secure = "; Secure" if self.secure else ""
        return f"{ANONYMOUS_COOKIE}={self.value}; Path=/; Max-Age={YEAR_S}; SameSite=Lax{where}{secure}"


class Visit:
    """A request under way. `begin` makes it; `answer` once the headers are known, `seen` once the answer is on its way."""

    def __init__(self, client: Any, request: Request, options: Options, original: Any) -> None:
        jar = _page.cookies(request.header("cookie"))
        self._client = client
        self._domain = options.cookie_domain
        self._address = _page.address(request, options.trust_proxy)
        self._referrer = request.header("referer") or ""
        self._navigated = (
            options.page_views and _page.is_navigation(request) and _wanted(request.path, options)
        )
        self._anonymous_id = _page.visitor_id(jar.get(ANONYMOUS_COOKIE))
        self._new = self._anonymous_id is None and self._navigated and _call(options.set_cookie, original)
        if self._new:
            self._anonymous_id = str(
                uuid.uuid4()
            )  # not of version 7: it need not say when somebody first came
        self._user_id = _text(options.user_id, original) or _page.visitor_id(jar.get("ajs_user_id"))
        account = _text(options.account, original)
        context = self._context(request, options, _consent(options, jar, original))
        self._binding = bind(self._user_id, self._anonymous_id, account, context)
        self._pending = False
        self._encoding = ""

    def _context(
        self, request: Request, options: Options, consent: Optional[Mapping[str, bool]]
    ) -> dict[str, Any]:
        context: dict[str, Any] = {
            "ip": _page.client_ip(request, options.trust_proxy),
            "userAgent": request.header("user-agent"),
            "locale": _page.locale(request.header("accept-language")),
            "page": page_properties(self._address, self._referrer),
            **_page.campaign(request.query),
        }
        if consent is not None:
            context["consent"] = {"categoryPreferences": dict(consent)}
        return {key: value for key, value in context.items() if value is not None}

    def bound(self) -> ContextManager[Any]:
        """Put the visitor on the calls within a block."""
        return self._binding

    def answer(self, status: int, header: Callable[[str], str]) -> Optional[Cookie]:
        """Look at the answer's status and headers (lower-case names, empty where absent); return the cookie to set."""
        if not (self._navigated and _page.is_page(status, header("content-type"))):
            return None
        if self._new and _page.is_shared(header("cache-control")):
            return None  # without an id that lasts, a page view would make up a visitor
        self._pending = self._anonymous_id is not None or self._user_id is not None
        self._encoding = header("content-encoding")
        if not self._new or self._anonymous_id is None:
            return None
        return Cookie(self._anonymous_id, self._domain, self._address.secure)

    def seen(self, body: bytes = b"") -> None:
        """Send the page view, once; the title is looked for in the beginning of the body."""
        if not self._pending:
            return
        self._pending = False
        try:
            properties = page_properties(self._address, self._referrer, _page.title(body, self._encoding))
            properties["host"] = self._address.host
            with self._binding:
                _client(self._client).page(
                    user_id=self._user_id, anonymous_id=self._anonymous_id, properties=properties
                )
        except Exception:  # noqa: BLE001 - the answer is more important than the count of it
            log().exception("the page view of %s was not sent", self._address.path)


class Nobody:
    """A visit that is not to be known: opted out, or its headers could not be understood."""

    def bound(self) -> ContextManager[Any]:
        """Bind nothing."""
        return nullcontext()

    def answer(self, status: int, header: Callable[[str], str]) -> Optional[Cookie]:  # noqa: ARG002 - as Visit
        """Set nothing."""
        return None

    def seen(self, body: bytes = b"") -> None:
        """Send nothing."""


def begin(
    client: Any, request: Callable[[], Request], options: Options, original: Any
) -> Union[Visit, Nobody]:
    """Return the visit that a request is; one of Nobody when the visitor opted out or anything fails."""
    try:
        asked = request()
        if _opted_out(asked, options, original):
            return Nobody()
        return Visit(client, asked, options, original)
    except Exception:  # noqa: BLE001 - odd headers, or the app's own functions; without them nobody is to be tracked
        log().exception("a request is served without tracking")
        return Nobody()


def page_properties(address: Address, referrer: str, title: Optional[str] = None) -> dict[str, str]:
    """Return the page as `properties` of a page view and `context.page` of every call have it."""
    found = {"url": address.url, "path": address.path, "search": address.search, "referrer": referrer}
    return {**found, "title": title} if title else found


def _wanted(path: str, options: Options) -> bool:
    if options.include is not None and not _matches(path, options.include):
        return False
    return not _matches(path, options.exclude)


def _matches(path: str, rules: Sequence[Rule]) -> bool:
    return any(path.startswith(rule) if isinstance(rule, str) else bool(rule.search(path)) for rule in rules)


def _opted_out(request: Request, options: Options, original: Any) -> bool:
    if options.respect_gpc and request.header("sec-gpc") == "1":
        return True
    if options.respect_dnt and request.header("dnt") == "1":
        return True
    if isinstance(options.opt_out, str):
        value = _page.cookies(request.header("cookie")).get(options.opt_out, "")
        return value.lower() not in ("", "0", "false")
    return bool(options.opt_out and options.opt_out(original))


def _consent(options: Options, jar: Mapping[str, str], original: Any) -> Optional[Mapping[str, bool]]:
    if isinstance(options.consent, str):
        return _page.preferences(jar.get(options.consent))
    return options.consent(original) if options.consent else None


def _text(function: Optional[Callable[[Any], Any]], original: Any) -> Optional[str]:
    found = function(original) if function else None
    return None if found in (None, "") else str(found)  # a primary key is often a number


def _call(choice: Union[bool, Callable[[Any], bool]], original: Any) -> bool:
    return choice if isinstance(choice, bool) else bool(choice(original))


def _client(client: Any) -> Any:
    if client is not None:
        return client
    import headwater_sdk

    return headwater_sdk
