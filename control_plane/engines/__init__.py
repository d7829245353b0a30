"""Where sessions run. One protocol, one contract suite, one module per engine.

**Start here:** `engine`

- `engine`   the protocol; its docstring is the specification
- `local`    an agent process on this host, the embedded default
- `fake`     in memory, for tests
- `process`  processes named by pid and start time
"""
