"""What the middleware's tests share: the header lines of a browser, and a page."""

from __future__ import annotations

BROWSER = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language": "nb-NO,nb;q=0.9,en;q=0.8",
    "User-Agent": "Mozilla/5.0",
    "Referer": "https://search.example/",
    "Host": "shop.example",
}
PAGE = "<html><head><title>Blue &amp; green\n shoes</title></head></html>"
