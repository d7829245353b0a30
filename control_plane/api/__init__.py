"""The HTTP API: what can be called, and how calls are checked, answered and described.

**Start here:** `table`, and `calls_of_members` for what people can do.

- `table`      every call; its lines are in `calls_of_members`,
               `calls_of_checkpoints` and `calls_of_programs`
- `gates_and_handlers` who can call, and who answers: what the table is made of
- `route`      what a line of the table says
- `dispatch`   carries out one call: who, parameters, body, handler, answer
- `faults`     errors → status codes and sentences; the only place that knows both
- `openapi`    the table as an OpenAPI document
- `shapes`     public JSON shapes of replies and bodies
- `present`    a Studio of the model → its public shape, as one person may see it
- `present_checkpoints` a checkpoint → its public shape
- `studios`    handlers: list, view, add, change, start, stop, extend, delete
- `checkpoints` handlers: list, view, rename, delete, save now
- `files`      handlers: what is in a checkpoint, and files out of it
- `people`     handlers: who am I, users, API tokens
- `workspace`  handlers: settings, compute environments, labels, templates
- `events`     handler: changes as server-sent events
- `agents`     handlers: status reports and desired state
- `edges`      handlers: login codes, renewals, presence, the feed of sessions
- `presence`   who is connected to what, as the edges say
- `streams`    answers without an end: heartbeats, shutdown
- `operations` health and metrics
"""
