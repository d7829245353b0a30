"""What tests of several packages use.

**Start here:** whatever a test imports; these modules know nothing of each other.

- `fake_api`       a control plane's API in memory
- `hurried_clock`  a clock on which sleeping takes no time
"""
