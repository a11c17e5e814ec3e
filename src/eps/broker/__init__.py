"""The heart of an EPS server: who asks, may they, and where does it go?

broker             called by inbound channels, calls outbound ones (PROTOCOL.md section 2, delivery)
internal_methods   what the server answers itself: _ping, _directory, _connectionRequest (B's part in steps 3 and 4)
audited            what the audit log has of a call
discovery          what may be called, described: _describe
ending             how a call ended, in the words of logs and metrics
patience           holds calls that were not sent, and tries them again
refusals           why a call is not passed on
second_look        asks for a newer directory before it refuses a tunnel
"""
