"""`/docs`: the routes for people, made from the OpenAPI document. One page, no script, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI, Response

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}"
    "code{background:#eef2f6;padding:.1rem .3rem;border-radius:.2rem}table{border-collapse:collapse;width:100%}"
    "td{border-top:1px solid #d8e0e8;padding:.4rem .6rem;vertical-align:top}h2{margin-top:2rem}"
)


def page(document: dict[str, Any]) -> str:
    """The page of an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation.get("tags", ["other"])[0], []).append(_row(path, method, operation))
    tables = "".join(
        f"<h2>{escape(name)}</h2><table>{''.join(rows)}</table>" for name, rows in groups.items()
    )
    title, text = escape(document["info"]["title"]), escape(document["info"]["description"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{text}</p>{tables}"
        '<p>The same for machines: <a href="/openapi.json">openapi.json</a></p></html>'
    )


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    statuses = ", ".join(operation["responses"])
    return (
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td>"
        f"<td>{escape(operation.get('summary', ''))}</td><td>{escape(statuses)}</td></tr>"
    )


def declare(web: FastAPI) -> None:
    """Add the page (itself no part of the document)."""

    async def docs() -> Response:
        return Response(page(web.openapi()), media_type="text/html; charset=utf-8")

    web.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
