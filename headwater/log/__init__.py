"""The log: durable, partitioned topics between the stages."""
