"""What saving a session's files costs whoever works in it, in whole sessions.

**Start here:** `measuring`.

What is done:
- `measuring` all of it, with each store, round by round
- `pauses`    a program writes on while files are saved
- `everyday`  what users do between two captures
- `holding`   the memory of an agent's processes
- `restarts`  stops and starts with more and more files
- `samples`   what was measured
- `figures`   what it comes to: tables, bars; pure

Who is measured:
- `studio`    a Studio whose runs save their files, and begin with what was saved
- `watched`   its agent, which notes what it does when
- `ticker`    when an event loop comes round: the agent's, and a bystander's
- `notes`     these notes, read; pure
- `peers`     restic and tar on the same files

What is worked on:
- `deeds`     a tool that does what users do
- `packages`  a wheel and Debian packages to install
"""
