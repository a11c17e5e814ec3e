"""What the protocol says, as functions of bytes and values: no sockets, clock, event loop or files. Time is passed in.

names         the types of names, fingerprints, tokens       event          what happens, for logs and metrics
address       OPERATOR.METHOD(ID)                            message        Request, Response, Error
jsonrpc_text  JSON-RPC's bytes ↔ messages, json_steps the same for very large answers, json_pieces
              for large ones of many values, loose_answers for loose ones, packed: compressed ones
record_text   the JSON of records: numbers as doubles, any depth; free_form: values in them that mean nothing here
minus_zero    the number -0 for a parser that doesn't know it     json_tokens   how JSON's texts look
structure     the structured hash → record (change records) → signature (whose?) → chain (which ones count?)
exact         what typed data may be → reading (the one reading of a record's bytes), layout (the record's own bounds)
              → verdict (what a record does)
advice        what a writer of records is told before they are signed, likeness: what was most likely meant
changes       what differs between two states of the directory, and entries in words     removal   an operator goes
age           how old what is known of the directory is      clock          ours, beside those of others
high_water    how far a directory had come, and whether what is there now is less
soundness     what of a record can be verified by itself     cache_seal     what was verified need not be again
canonical     canonical JSON (RFC 8785)                     canonical_use  who signs it, where that is demanded
quick_canonical  the same of what calls carry, quickly
audit         the audit log's lines → audit_reading (is a log whole?), audit_evidence (what one call was), audit_key
second_reading  free-form values that could be read in another way
new_root      which root may replace a chain               shared_records  the records of one, shared as it grows
pem           PEM files                                     certificate    what one says and is good for
instant       points in time as records write them
entries       the directory: entries from records, and what others ask about them
sections      what an entry's sections hold, typed
permission    may X call m on Y?                             callers        who may call a JSON-RPC port?
descriptions  what may be called, with params and results
ways          how X reaches Y                                trace          which call something belongs to
brokering     what the parties of a brokered connection tell each other   renewal   when its proxy stops
rendezvous    the proxy's tokens: who may meet whom, as a table
host_port     HOST:PORT                                      limits         what several rooms keep to
defaults      what settings are when nobody says otherwise
wording       how messages count
travel        what params and results may hold               place          where in a deep value
taking_apart  large values, forgotten in pieces              steps          long computations, a little at a time
endpoint      which relay endpoints may be dialled
http_proxy    which dials go through an HTTP proxy
lifetime      how long tunnels live, learned                warn_rate      one warning a second
recent        a bounded memory                             client         who calls
overload      how many calls an application gets at once     latency       how late they are
told_seconds  how long a server keeps an unused connection, how long a caller waits
told          what another server tells of a failure, seen from here
clienthello   the server name in a TLS client's first bytes  hello_shape    in what such bytes are alike
announcement  which domain is whose, until when              chunks         the store ``file``'s pieces of entries

The service directory and the directory sources grow a ``chain``; the broker asks ``entries`` and ``permission``;
channels use ``address``, ``message`` and ``brokering``; the public proxy is driven by ``rendezvous``.
"""
