"""Who somebody is: credentials of people, agents and edges, and the pages of logging in.

**Start here:** `gates` answers “who calls?” for every request; `connect` carries a login over to a
session's host.

- `gates`         person, agent or edge, from a request
- `desk`          what a person or program gets: links, tokens; used by `studios up` and the API
- `connect`       `/connect/authorize`: from the page's login to a code for a session's host
- `connect_tokens` codes and old tokens → connect tokens, for edges
- `pages`         `/login`, `/logout`
- `html`          their HTML, and that of error pages
- `links`         one-time login links
- `codes`         one-time codes between two hosts
- `page_sessions` who is logged in to the page
- `api_tokens`    tokens of the command line and scripts
- `signing_keys`  the keys that sign tokens
- `members`       from a row to a Person
- `cookies`       the page's cookie
- `opaque`        random credentials and their digests
- `redirects`     where a login may lead to
- `database`      read-only connections
"""
