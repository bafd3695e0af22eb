"""`headwater migrate --to kafka`: the log of one machine carried to Kafka, while the collector goes on accepting."""
