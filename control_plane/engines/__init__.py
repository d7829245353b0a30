"""Where sessions run. One protocol, one contract suite, one module per engine.

**Start here:** `engine`

- `engine`     the protocol; its docstring is the specification
- `local`      an agent process on this host, the embedded default
- `launch`     the program that turns into an agent, and its record of it
- `leftovers`  ends what a tool left behind when its agent is gone
- `log_file`  the end of a log that programs could have replaced
- `fake`       in memory, for tests
"""
