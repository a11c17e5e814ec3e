"""The command lines ``eps``, ``sd`` and ``proxy``: settings in, parts wired together, run.

entry              the console scripts: Ctrl-C, also while what follows is loaded
eps, sd, proxy     the commands; cli has what they share (options, exit codes)
wiring             settings → a server with all its parts; with proxy_wiring the only place that knows them all
runtime            what every server has around it: event loop, signals, file limit, profiles
logs, metrics      the two readers of events
admin              the administrator's commands (eps call, sd …); directory_commands does those with records
demo               eps demo → dev_network (names, ports), processes (starts them, reads their logs) → child (in each)
dev_certs          eps dev certs; internal_server: eps dev internal-server

entry → eps · sd · proxy → runtime → wiring → services, channels, directories, datastores
"""
