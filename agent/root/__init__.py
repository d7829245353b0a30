"""The session's root: a file system, namespaces and limits of its own, and no way out of them.

**Start here:** `session`, which makes one, starts programs in it and ends it.

Decided (pure):

- `plan`           what a session's root is made of, from facts and wishes
- `facts`          what the plan needs to know of the host
- `hidden`         the mask layer: what a session doesn't see, and what it gets
- `confinement`    capabilities, devices, masked paths; the profiles
- `seccomp`        which system calls a session may make
- `names`          its hosts, hostname and resolv.conf
- `addresses`      its network, as numbers
- `cgroup_layout`  which cgroups there are and how they are limited
- `accounts`       what they say of the session's use
- `mountinfo`      the kernel's list of mounts, parsed
- `paths`          questions about paths

Done by the agent:

- `precautions`    what an agent does about itself first
- `shared_limits`  counters of the whole machine that one session could use up
- `survey`         finds the facts
- `layers`         mask layer and overlay, mounted
- `seccomp_filter` the filter, compiled
- `network`        the session's network and its way out
- `namespaces`     network namespaces, and sockets made in them
- `rtnetlink`      links, addresses and routes
- `address`        connections from the agent's loop into the session
- `cgroup`         the session's cgroups
- `limit_watch`    what the limits did to the session
- `memory_kills`   which process the kernel ended for want of memory
- `fuse_abort`     ends what hangs in a dead data link
- `launching`      starts the first process and helpers
- `conversation`   talks with them
- `entering`       programs for `studios exec`

Done by small processes that import nothing heavy:

- `launcher`       makes the root around itself and stays as its first process
- `enter`          enters a session to start one program
- `confining`      gives up what a session must not have
- `starter`        starts programs, reaps, reports
- `orders`         what such a process is told, and what it answers
- `kernel`         system calls that Python 3.11 lacks
"""
