"""What every server has around it.

runtime    event loop, signals, file limit, profiles
logs       events as lines, which leave through log_queue: nobody waits for a reader
audit_log  one line for each call, chained and signed, for those who settle what was asked and answered
tally      events as numbers
families   what is measured: metrics, labels, the series that are there from the start
metrics    both in Prometheus' format
health     whether the process lives, and is ready for calls
standing   the same, and what the process is at, as one value
collector  when Python looks for cycles: not into the values of large calls
quiet      memory goes back when there is nothing to do
control    the socket through which other processes ask something of a running server
remembered  the last calls and steps, for those who ask for a trace
troubles   what failed, for doctors, until it goes well again
spans      calls and steps for OpenTelemetry, where the extra otel is installed
status     what a running server tells of itself there
handover   one process takes another's place
draining   one comes to its end, and says how that went
systemd    what systemd is told, and given to keep
"""
