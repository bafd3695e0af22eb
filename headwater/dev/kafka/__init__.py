"""A real Apache Kafka on loopback, without Docker: jars from Maven, brokers in KRaft mode as processes of this user."""
