"""What the agent tells programs in the session, and the command `studio`, which asks it.

Whoever is in the session may be hostile: they can flood, stall and send garbage, and all they reach
is what concerns their own session.

**Start here:** `desk`, which composes the rest.

Decided (pure):

- `exchange`   requests and answers: the little of HTTP that is spoken
- `view`       what is known at one instant
- `lateness`   how long ago the files were saved, and whether that is too long
- `phrases`    how tables, times, sizes and numbers are written
- `wording`    all of it, as text for people
- `history`    what was saved and when, as text for people
- `documents`  the same, as JSON

Done:

- `desk`       which page answers what; opened, run and closed by the daemon
- `listener`   the unix socket, and what one connection may cost
- `extension`  the lifespan, extended, but not too often
- `saving`     the files, saved when asked, but not too often
- `command`    the script `studio`, which is in `studio.sh`
"""
