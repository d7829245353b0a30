"""The process that works for an agent: the library `checkpoints`, carrying out orders.

**Start here:** `service`.

- `service`     orders in, answers out, until the agent is gone
- `work`        what each order does
- `arrivals`    tells when the store has taken something
- `translation` what the library raises, as answers
- `precedence`  how this process gives way to everything else
- `image`       which names the folders below a restored layer have
"""
