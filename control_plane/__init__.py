"""Knows Studios, people and engines; decides what runs, and serves API, login and page.

**Start here:** `service` for what it does, `app` for how it is reached.

What it knows and decides (pure):
- `model`        Studios, people, settings
- `access`       who may do what
- `lifecycle`    the life of a Studio as one table; `effects` what its entries change
- `validation`   request bodies and what may be wrong with them
- `errors`       expected failures, as sentences
- `settings`     numbers and addresses the core needs

What it does:
- `service`      the commands of people, agents and edges
- `reconciler`   carries out what is left to do; `worklist` finds it
- `health_poll`  asks sessions for their health the way users reach them
- `calendar_hold` no lifespan ends because a clock jumped
- `events`       changes, told to whoever listens
- `store`        transactions; `store_people`, `store_rows` parts of it
- `schema`       the tables; `migrations/` how a database gets them
- `engines/`     where sessions run

How it is reached:
- `app`          opens, listens, closes
- `composition`  builds the parts and hands them to each other
- `web`          the aiohttp application
- `api/`         the HTTP API as one table
- `login/`       credentials, login pages, the hand-over to sessions
- `page/`        the Studios page
- `config`       what it is told from outside
"""
