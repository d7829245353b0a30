"""`studios checkpoints`: a Studio's, and what a work directory holds without the control plane.

**Start here:** `group`, then `of_studio` and `looking` for typical commands.

- `group`     the command and what belongs to it
- `opening`   the work directory that is meant, opened; its failures as the command line's
- `of_studio` list, save, rename, start-as-new
- `deleting`  delete
- `looking`   scan, ls, cat, diff, stats
- `checking`  verify
- `repairing` repair
- `getting`   restore, restore-file
- `writing`   write
- `layers`    export, import
- `collecting` collect, and delete by hand
- `logs`      what libraries log meanwhile
- `bars`      progress, on terminals
- `streams`   long lists, printed as they come
- `shown`     entries as people and scripts see them (pure)
"""
