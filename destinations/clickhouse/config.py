"""ClickHouse. Loads every processed event into one typed table, with Segment's tables as views over it.

Without `url` the engine runs inside Headwater and keeps its tables in the data folder; with `url` it is a server.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from headwater.plugin import Batching, DestinationConfig, DestinationSpec

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Config(DestinationConfig):
    """Where the tables are and how they are filled."""

    url: str | None = Field(default=None, description="http(s)://host:port of a server; none: embedded.")
    username: str = Field(default="default", description="User of the server.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the server.")
    ca: str | None = Field(
        default=None, description="File of certificates to trust for https; none: those of the system."
    )
    compress: bool = Field(default=True, description="Send inserts to a server compressed (zstd).")
    database: Identifier = Field(default="headwater", description="Database of the tables and views.")
    cluster: Identifier | None = Field(
        default=None, description="Cluster of the server: replicated tables, ON CLUSTER."
    )
    insert_quorum: str = Field(
        default="auto",
        pattern=r"^(auto|[0-9]{1,2})$",
        description="Replicas of a shard that must have an insert: auto (more than half), or a number; 0 waits for one.",
    )
    timeout_s: float = Field(default=120, gt=0, description="Longest time of one insert or query.")
    max_rows: int = Field(
        default=50_000,
        ge=1,
        le=1_000_000,
        description="Rows gathered before an insert at most, while ClickHouse is busy.",
    )
    min_wait_s: float = Field(
        default=0.2, ge=0, description="How long the first event waits for others when little comes."
    )
    max_wait_s: float = Field(default=1.0, gt=0, description="How long an event waits for others at most.")
    columnar: bool = Field(
        default=True, description="Send typed columns where that equals the text; off: always text."
    )
    views: bool = Field(
        default=True, description="Make a view for each event and a database for each source."
    )
    max_views: int = Field(
        default=20_000,
        ge=0,
        description="Views of single events at most; events beyond are found in tracks and events.",
    )

    merges: bool = Field(
        default=True,
        description="Off: parts are never merged; for tests that must see every row ever inserted.",
    )

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http(s)://host:port of ClickHouse's HTTP interface")
        if parts.username or parts.password:
            raise ValueError(
                "no user and password in the url; they have settings of their own: username, password"
            )
        return url

    @model_validator(mode="after")
    def _cluster_needs_a_server(self) -> Config:
        if self.cluster and not self.url:
            raise ValueError("cluster is set but url is not; an embedded engine has no cluster")
        if self.ca and not (self.url or "").startswith("https://"):
            raise ValueError("ca is set but url is not https://; certificates are looked at with https alone")
        return self


spec = DestinationSpec(
    name="clickhouse",
    title="ClickHouse",
    category="warehouse",
    batching=Batching(max_events=50_000, max_bytes=64 << 20, max_wait_s=1.0),
    concurrency=1,
    timeout_s=120,
)
