"""The administrator's commands.

commands   what ``eps call``, ``eps sd …`` and ``eps config check`` do
records    what is done with change records; directory_calls: how the service directory is asked
plan       what a submission would change, and what is doubtful; review: how that is shown, and agreed to
recovery   a service directory's store rebuilt from an operator's verified copy
set_back   whether the service directory still has what this operator verified
roots      which roots service directories show, to be accepted by hand
scrutiny   what is looked at before records are signed
stores     ``store copy | verify | backup | restore``, with store_owners: what must be in whose store
operators  what ``eps operator …`` does: own_settings are written, own_records handed to the directory's administrator
own_certificates   requests, and what is in a certificate's file; renewal: ``eps cert renew``, step by step
screen     results as people read them at a terminal
drain      a running server is told to come to its end
audit      what ``eps audit …`` does
check      all that is wrong or doubtful in settings
"""
