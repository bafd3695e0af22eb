"""headwater.yaml as typed, frozen values. Pure: reading the file and resolving secrets is `headwater.workspace.load`.

Unknown keys are errors everywhere. Sizes are bytes, durations seconds unless the name says otherwise.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    field_validator,
    model_validator,
)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Network = IPv4Network | IPv6Network


class Section(BaseModel):
    """A mapping of the file: no unknown keys, never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where events come from. Two write keys may be live at once, so that a key can be rotated."""

    kind: Literal["browser", "server", "mobile"] = Field(description="Decides which channel rules apply.")
    write_keys: list[str] = Field(min_length=1, max_length=2, description="One key, or two while rotating.")
    enabled: bool = Field(default=True, description="Switched off: calls are answered as for an unknown key.")
    name: str = Field(default="", description="A name for people; the key of the mapping is the id.")
    bots: Literal["off", "shadow", "flag", "drop"] | None = Field(
        default=None, description="Overrides processors.bots.mode for this source."
    )
    rate_limit: int | None = Field(default=None, ge=1, description="Events a second; overrides limits.rate.")


class Destination(BaseModel):
    """A destination's common settings; everything else in its mapping belongs to its type's own Config."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Name = Field(description="Which destination: clickhouse, webhook, ...")
    enabled: bool = Field(default=True, description="Switched off: nothing is read; the backlog waits.")
    filter: str | None = Field(
        default=None, description="FQL; only events for which it is true are delivered."
    )

    @property
    def options(self) -> dict[str, Any]:
        """The settings that belong to the destination's own Config."""
        return dict(self.model_extra or {})


class Connection(Section):
    """Which sources feed which destinations."""

    from_: list[Name] = Field(alias="from", min_length=1)
    to: list[Name] = Field(min_length=1)


class Dedupe(Section):
    """Removal of repeated messageIds."""

    enabled: bool = True
    window_days: int = Field(
        default=7, ge=1, le=30, description="Days a messageId is remembered after it arrived."
    )


class Bots(Section):
    """The bot filter."""

    mode: Literal["off", "shadow", "flag", "drop"] = Field(
        default="flag", description="What happens to bots."
    )
    threshold: int = Field(
        default=80, ge=1, le=100, description="Score from which an event counts as a bot's."
    )
    keep_classes: list[str] = Field(
        default_factory=list, description="Classes never dropped, e.g. monitoring."
    )
    allow_agents: list[str] = Field(
        default_factory=list, description="Substrings of agents that are never bots."
    )
    allow_networks: list[Network] = Field(default_factory=list, description="Addresses that are never bots.")
    hosting_networks: list[Network] = Field(
        default_factory=list, description="Further addresses of hosting companies, a soft sign."
    )


class Identity(Section):
    """Resolution of anonymous visitors to users."""

    enabled: bool = True


class Account(Section):
    """Joining events to accounts."""

    enabled: bool = True
    traits: list[str] = Field(
        default_factory=lambda: ["name", "plan", "industry", "employees"],
        description="Account traits copied to context.account of each event.",
    )
    infer: bool = Field(
        default=True, description="Stamp context.groupId from the user's only current account."
    )


class Processors(Section):
    """The processing chain, in its order."""

    dedupe: Dedupe = Dedupe()
    bots: Bots = Bots()
    identity: Identity = Identity()
    account: Account = Account()


class Limits(Section):
    """Admission control of the collector."""

    rate: int | None = Field(
        default=None, ge=1, description="Events a second for each write key; none by default."
    )
    burst_s: float = Field(default=10, gt=0, description="Seconds of rate that may arrive at once.")
    inflight_bytes: int = Field(
        default=64 << 20, ge=1 << 20, description="Request bytes held at once; more is 503."
    )
    inflight_requests: int = Field(
        default=2_048, ge=1, description="Requests worked on at once; more is 503."
    )
    body_timeout_s: float = Field(default=20, gt=0, description="Time a client has to send its body.")
    disk_free_bytes: int = Field(
        default=256 << 20, ge=0, description="Free disk below which the collector says 503."
    )
    ready_lag_s: float = Field(
        default=600,
        ge=0,
        description="Age of the oldest unprocessed event from which /ready says 503; 0: it looks at no lag.",
    )


class Collector(Section):
    """How the collector treats clients."""

    unknown_keys: Literal["accept", "reject"] = Field(
        default="accept", description="accept: 200, counted and dropped, as Segment does; reject: 401."
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list, description="Peers whose forwarding headers are believed."
    )
    proxy_protocol: bool = Field(
        default=False, description="Expect the PROXY protocol (v1, v2) from trusted proxies."
    )
    cors_origins: list[str] = Field(default_factory=lambda: ["*"], description="Allowed browser origins.")
    cors_headers: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Request headers that browsers may send besides those of Segment's SDKs; * for any.",
    )
    public_url: str | None = Field(
        default=None, description="How browsers reach us, for the settings document."
    )


class SqliteLogSettings(Section):
    """The log of one machine: SQLite files in the data folder."""

    type: Literal["sqlite"] = Field(default="sqlite", description="Files in the data folder of one machine.")
    partitions: int = Field(
        default=1, ge=1, le=1024, description="Of the event topics; fixed once events exist."
    )
    retention_days: float = Field(
        default=7, gt=0, description="How long read records are kept; outputs outlive the dedupe window."
    )
    retention_bytes: int = Field(
        default=0, ge=0, description="Upper size of each log file, above what is still needed; 0 for none."
    )


class SaslPassword(Section):
    """A user and a password for the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: str = Field(min_length=1, description="The user the brokers know.")
    password: SecretStr = Field(description="Its password, as ${NAME} or file:PATH.")


class SaslToken(Section):
    """Tokens of an identity provider, by the client-credentials grant."""

    mechanism: Literal["OAUTHBEARER"]
    token_url: str = Field(pattern=r"^https?://", description="Where tokens are asked for.")
    client_id: str = Field(min_length=1, description="Who asks.")
    client_secret: SecretStr = Field(description="The secret of the client, as ${NAME} or file:PATH.")
    scope: str = Field(default="", description="The scope asked for; none by default.")


class KafkaTls(Section):
    """Encryption to the brokers; empty for the certificate authorities of the system."""

    ca: str | None = Field(default=None, description="PEM file of the certificate authority of the brokers.")
    certificate: str | None = Field(
        default=None, description="PEM file of our own certificate and its chain."
    )
    key: str | None = Field(
        default=None, description="PEM file of its key; default: in the certificate's file."
    )
    key_password: SecretStr | None = Field(default=None, description="What the key is encrypted with.")

    @model_validator(mode="after")
    def _a_key_belongs_to_a_certificate(self) -> KafkaTls:
        if self.certificate is None and (self.key is not None or self.key_password is not None):
            raise ValueError(
                "key and key_password belong to a certificate; give the file of the certificate too"
            )
        return self


class KafkaLogSettings(Section):
    """The log of a cluster: topics on Apache Kafka."""

    type: Literal["kafka"] = "kafka"
    brokers: list[Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]+):\d{1,5}$")]] = Field(
        min_length=1, description="Some brokers to begin with, as host:port."
    )
    partitions: int = Field(
        default=1, ge=1, le=1024, description="Of the event topics; fixed once events exist."
    )
    replication: int = Field(default=3, ge=1, le=32, description="Copies of each topic that is created.")
    min_insync_replicas: int = Field(
        default=2, ge=1, le=32, description="Copies that must have a record before it counts as written."
    )
    topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="Before every topic, group and transactional id.",
    )
    retention_days: float = Field(
        default=7,
        gt=0,
        description="How long records are kept, read or not; outputs outlive the dedupe window.",
    )
    retention_bytes: int = Field(
        default=0, ge=0, description="Upper size of each partition, read or not; 0 for none."
    )
    sasl: Annotated[SaslPassword | SaslToken, Field(discriminator="mechanism")] | None = Field(
        default=None, description="How to log in to the brokers; none by default."
    )
    tls: KafkaTls | None = Field(default=None, description="Encryption; `{}` with the system's authorities.")
    spool_bytes: int = Field(
        default=1 << 30, ge=0, description="The collector's disk spool while Kafka takes nothing; 0: none."
    )

    @model_validator(mode="after")
    def _replicas_suffice(self) -> KafkaLogSettings:
        if self.min_insync_replicas > self.replication:
            raise ValueError(
                f"min_insync_replicas {self.min_insync_replicas} is more than replication {self.replication}: nothing "
                "could ever be written; lower the one or raise the other"
            )
        return self

    @property
    def security_protocol(self) -> Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]:
        """What Kafka calls the combination of encryption and login."""
        if self.sasl is None:
            return "PLAINTEXT" if self.tls is None else "SSL"
        return "SASL_PLAINTEXT" if self.tls is None else "SASL_SSL"


def _log_type(value: Any) -> Any:
    return value.get("type", "sqlite") if isinstance(value, dict) else getattr(value, "type", "sqlite")


LogSettings = Annotated[
    Annotated[SqliteLogSettings, Tag("sqlite")] | Annotated[KafkaLogSettings, Tag("kafka")],
    Discriminator(_log_type),
]


class Workspace(Section):
    """The whole of headwater.yaml."""

    workspace: Name = Field(description="A name for the installation.")
    sources: dict[Name, Source] = Field(min_length=1, description="Where events come from.")
    destinations: dict[Name, Destination] = Field(default_factory=dict, description="Where events go.")
    connections: list[Connection] | None = Field(
        default=None, description="Default: every source to every destination."
    )
    processors: Processors = Processors()
    limits: Limits = Limits()
    collector: Collector = Collector()
    log: LogSettings = SqliteLogSettings()

    @field_validator("sources")
    @classmethod
    def _keys_are_unique(cls, sources: dict[str, Source]) -> dict[str, Source]:
        owner: dict[str, str] = {}
        for name, source in sources.items():
            for key in source.write_keys:
                if not key:
                    raise ValueError(f"source {name!r} has an empty write key")
                if owner.setdefault(key, name) != name:
                    raise ValueError(
                        f"sources {owner[key]!r} and {name!r} share a write key; each key names one source"
                    )
            if len(set(source.write_keys)) != len(source.write_keys):
                raise ValueError(f"source {name!r} lists the same write key twice")
        return sources

    @model_validator(mode="after")
    def _connections_name_what_exists(self) -> Workspace:
        for connection in self.connections or ():
            for name in connection.from_:
                if name not in self.sources:
                    raise ValueError(f"connections: no source {name!r}; sources: {', '.join(self.sources)}")
            for name in connection.to:
                if name not in self.destinations:
                    raise ValueError(
                        f"connections: no destination {name!r}; destinations: {', '.join(self.destinations)}"
                    )
        return self

    def sources_of(self, destination: str) -> frozenset[str]:
        """The sources whose events a destination receives."""
        if self.connections is None:
            return frozenset(self.sources)
        return frozenset(name for c in self.connections if destination in c.to for name in c.from_)


def secret(value: SecretStr | str) -> str:
    """The text of a secret, for the moment of use."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
