"""ClickHouse: the warehouse destination."""
