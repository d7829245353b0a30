"""Where sessions run. One protocol, one contract suite, one module per engine.

**Start here:** `engine`

- `engine`     the protocol; its docstring is the specification
- `local`      an agent process on this host, the embedded default
- `launch`     the program that turns into an agent, and its record of it
- `job_record` that record, as the engine reads and writes it
- `one_process` signals to exactly one process
- `first_process` the process with which a whole session ends
- `host_folders` what of this machine sessions see
- `session_folder` what a session keeps here, deleted
- `log_file`   the end of a log that programs could have replaced
- `fake`       in memory, for tests
"""
