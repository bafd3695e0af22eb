"""The delivery kit: everything between the processed topic and an HTTP destination's pure mapping.

::

    runtime     one supervised delivery per enabled destination, reconciled with the workspace
    delivery    the engine of one destination: its lanes, its gate, its books
    lane        one input partition: read in order, send concurrently, commit in order
    send        one batch through the mapping and over the wire
    settle      (pure) outcomes to records and counts
    select, batch, classify, backoff, breaker, rate, redact   (pure) one decision each
    http        the only module that opens sockets to customers' addresses
    books       the exact counts and the transaction that carries them
    dlq, inspect, control                                     what operators see and do
"""
