"""What every server has around it.

runtime    event loop, signals, file limit, profiles
logs       events as lines                  metrics    events as numbers
"""
