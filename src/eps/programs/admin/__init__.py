"""The administrator's commands.

commands   what ``eps call``, ``eps sd …`` and ``eps config check`` do     records   what is done with change records
scrutiny   what is looked at before records are signed
stores     ``store copy | verify | backup | restore``, with store_owners: what must be in whose store
check      all that is wrong or doubtful in settings
"""
