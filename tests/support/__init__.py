"""What tests of several packages use.

**Start here:** whatever a test imports.

- `fake_api`       a control plane's API in memory, as the command line sees it
- `platform`       a stand-in for the control plane, as the edge sees it
- `plane`          a real control plane on a unix socket, with a real database
- `control_plane_core`  the control plane's core without its HTTP
- `stand_in_agent`      what an engine starts in tests of engines
- `rig`            the whole data path in one event loop
- `live`           the whole system as a user starts it, in processes of its own
- `browser`        Chromium
- `hurried_clock`  a clock on which sleeping takes no time
- `tree`           the files of the project
"""
