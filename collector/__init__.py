"""The collector: accepts Segment calls over HTTP and answers 200 only once they are durable."""
