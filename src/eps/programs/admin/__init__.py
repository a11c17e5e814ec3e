"""The administrator's commands.

commands   what ``eps call``, ``eps sd …`` and ``eps config check`` do     records   what is done with change records
check      all that is wrong or doubtful in settings
"""
