"""Page views seen by the server, and the visitor on every call made within a request.

`asgi`, `wsgi` and `django` each hold a `HeadwaterMiddleware` with the same options (`Options` in `_visit`). It reads the
cookies that the browser SDK writes, gives a new visitor the id that the browser SDK will then find, and sends a `page` for
each HTML page that somebody navigated to: not for assets, fetches of scripts, prefetches, redirects or errors.
"""
