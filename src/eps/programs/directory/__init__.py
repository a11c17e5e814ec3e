"""``eps directory …``: the directory as people read it, and how changes come into it.

    proposed (an operator, slip) → checked, signed (an administrator, signed) → submitted (anybody)

source     the directory as it is: asked of the service directory and verified, or our server's verified copy
shown      entries and the history in words, and as JSON
changes    what a file would change: change records, an entry, or a slip
slip       changes that an operator proposes, as a file that shows whether anybody altered it
signed     records that an administrator has signed, as a file
commands   from settings to what is printed
"""
