"""The command lines ``eps``, ``sd`` and ``proxy``: settings in, parts wired together, run.

entry             the console scripts: Ctrl-C and SIGTERM, also while what follows is loaded
direct            runs a server without what reads command lines, where the command is written plainly
eps, sd, proxy    the commands; cli has what they share (options), guard how their work ends, spelling how else they
                  may be written, serving a server that takes over what changes in its settings
stores, shared    commands of all three: ``store …``; ``config check``, ``completion`` and ``man`` (manual)
joining           ``eps operator …`` and ``eps cert …``; changing ``eps directory …``; auditing ``eps audit …``
dev/              the development network: certificates, demo, child processes, an internal server
admin/            the administrator's commands: eps call, eps sd …, config check, store …
directory/        the directory as people read it, and change slips: eps directory …
diagnosis/        commands that look and change nothing: eps doctor, trace, ping, explain, methods
wiring/           settings → a server with all its parts; the only place that knows them all
status/           the status page of a running server
running/          what every server has around it: event loop, signals, logs, metrics

entry points → dev → directory → diagnosis → admin → wiring → status → running
"""
