"""The commands, one module for those that belong together; each adds itself in `__main__`.

**Start here:** `lifecycle`, the commands that act on one Studio.

- `lifecycle`  start, stop, extend, delete
- `listing`    list, view, templates
- `adding`     add
- `logs`       logs
- `exec`       exec
- `checkpoints` a work directory's: scan, ls, verify, restore and others
- `doctor`     doctor
- `login`      login, and one-time links for the browser
- `users`      users list, add, role, remove
- `options`    arguments and options that several commands share
"""
