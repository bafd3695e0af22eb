"""The log of a cluster: Apache Kafka through aiokafka. `log.py` is the `Log`, `topics.py` the topics it needs."""

from headwater.log.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
