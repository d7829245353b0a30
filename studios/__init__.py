"""The command line `studios`, and `studios up`: everything on one machine in one process.

**Start here:** `__main__`, then `commands.lifecycle` for a typical command and `up.command` for
the whole system.

- `__main__`      the commands, and the end of every error
- `commands`      what one types, a small module each
- `up`            `studios up`
- `exec`          the person's end of `studios exec`
- `client`        the API as methods
- `transport`     one request and its answer; every error translated
- `shapes`        what the API answers
- `shapes_of_people` what it answers about people
- `saved`         how old what is saved is (pure)
- `names`         which Studio, checkpoint or template a person means
- `phases`        phases of a start with their durations (pure)
- `waiting`       `--wait`: look until a status is reached, showing phases
- `output`        tables, sheets and JSON
- `credentials`   where commands are sent, and with which token
- `config`        the environment, read once
- `surroundings`  what every command gets from outside
- `invocation`    commands in what we say, as they work for this person
- `host_check`    asks an agent whether sessions can run on this machine
- `failures`      failures and their exit codes
"""
