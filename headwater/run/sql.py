"""SQL against the embedded engine's folder while nothing else runs on it; reading only."""

from __future__ import annotations

from headwater.errors import HeadwaterError
from headwater.paths import DataDir


class NoEngine(HeadwaterError):
    """The ClickHouse engine is not installed."""


def answer(data: DataDir, sql: str, output_format: str) -> bytes:
    """The answer in a ClickHouse format. Raises NoEngine, EngineError or AlreadyRunning."""
    try:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        from destinations.clickhouse import engine as clickhouse
    except ImportError:
        raise NoEngine(
            "the ClickHouse engine is not installed; type: pip install 'headwater[local]'"
        ) from None
    engine = clickhouse.open_embedded(data.clickhouse)
    try:
        client = engine.readonly_client()
        try:
            return client.raw_query(sql, fmt=output_format)
        except ClickHouseError as error:
            raise clickhouse.EngineError(str(error)) from None
        finally:
            client.close()
    finally:
        engine.close()
