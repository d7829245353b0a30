"""What tests of several packages use.

**Start here:** whatever a test imports.

The command line:
- `fake_api`            a control plane's API in memory, as the command line sees it
- `hurried_clock`       a clock on which sleeping takes no time

The control plane:
- `plane`               a real one on a unix socket, with a real database
- `control_plane_core`  its core without HTTP
- `core_plane`          that core on a database, with fake host and agents
- `postgres`            a throw-away PostgreSQL server
- `stand_in_agent`      what an engine starts in tests of engines
- `full_disk`           a small disk that a test can fill, and free again

The edge and the byte path:
- `platform`            a stand-in for the control plane, as the edge sees it
- `conversation`        a client and a scripted tool in memory
- `visits`              people's requests to a session
- `rig`                 the whole data path in one event loop

The agent:
- `agent_rig`           an agent with its surroundings
- `daemon_rig`          a daemon in the test's own process
- `plain_ground`        plain processes for what stands on a session's ground
- `marked`              those of one ground, found wherever they hide
- `ground_contract`     what every ground promises
- `enter_contract`      what it promises to programs that come from outside
- `ground_stand`        where that is tried
- `ground_life`         both grounds, each in a process of its own
- `cancelled_making`    a session that is never made to the end
- `seen_session`        a session as the host sees it, and what is left of one
- `fake_control_plane`  a control plane, as the agent sees it
- `exec_place`          the agent's end of `studios exec` on a port, for the command line
- `exec_client`         a client of `studios exec` that is led by the hand
- `session_rig`         session roots on the real kernel, and what they leave
- `saving_studio`       a Studio whose runs save their files, without a control plane
- `session_agent`       whole sessions: agents in processes of their own, and a shell in them
- `session_shell`       that shell
- `session_tree`        a program for sessions that makes files of every kind
- `session_changes`     another that changes them at random
- `session_sight`       what a session sees of its files, entry by entry: the oracle of round trips
- `killed_runs`         its runs, killed somewhere, and what they may lose
- `bucket_studio`       a saving Studio whose work directory is a bucket behind a faulty proxy
- `hung_link`           file systems whose reads never end, mounted for a test
- `root_agent`          the agent's stand-in that makes them
- `attempts`            scripts that try to get out
- `escape_targets`      where they would like to get
- `saver_rig`           processes that save and restore files
- `fake_saver`          what they do, in memory, for tests that step the clock
- `begun_files`         a host's folder where runs begin, without disks
- `captured_volume`     a volume that is saved, without disks, on a clock that is stepped
- `bpf`                 what a seccomp filter answers
- `hanging_fuse`        a file system whose reads never end
- `poor_host`           a host that lacks something, for one program
- `waiting`             for a named condition, without an event loop
- `watched_loop`        the event loops of tests

The checkpoint store:
- `trees`               a store of nodes, entries of all kinds, small nodes
- `checkpoint_commands` work directories for `studios checkpoints`
- `checkpoint_rig`      repositories, read back; and what a folder really holds
- `collecting_store`    a store with a clock of its own
- `packed`              generations put together by hand, however odd
- `damaged_store`       a small repository, and what is left of it whatever happens to an object
- `every_kind`          a tree with everything that one can have
- `session_layers`      a volume over what was restored, over an image, mounted
- `folder_facts`        what the kernel says of a folder
- `growing_folder`      a folder that changes at random, and says where
- `long_paths`          folders in each other, down to where no path leads
- `restless_folder`     a folder in which anything may happen, drawn by hypothesis
- `file_operations`     what programs do to files that Python has no function for
- `original_files`      files that a snapshot is made of, and what becomes of them
- `whole_facts`         all that the kernel says of a folder, before and after
- `volume_line`         one snapshot of a volume after another, compared
- `checkpoint_model`    processes that share a store, who goes on when, and how time passes
- `checkpoint_model_reference` what was committed, and what must hold at every instant
- `checkpoint_model_store` the store: its clock is stepped, and it tells what happens to it
- `checkpoint_model_gate` where operations wait, and what becomes of them
- `checkpoint_model_rest` when no task and no thread moves any more
- `checkpoint_model_oracle` what a store really holds
- `checkpoint_model_actors` what processes do
- `checkpoint_model_history` steps, one after the other
- `real_folders`        folders with everything that one may hold, drawn by hypothesis
- `checkpoint_model_scene` a repository in the middle of its life, and what may be done to it next
- `faulty_store`        a store around another that fails as stores do
- `s3_servers`          servers of the real S3 protocol
- `faulty_s3`           a proxy before one, that answers what the test says

Everything together:
- `live`                the whole system as a user starts it, in processes of its own
- `browser`             Chromium
- `open_page`           a browser on the Studios page of a real control plane
- `tree`                the files of the project
"""
