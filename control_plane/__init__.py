"""Knows Studios, people and engines; decides what runs, and serves API, login and page.

**Start here:** `service` for what it does, `app` for how it is reached.

What it knows and decides, pure:

- `model`        Studios, people, settings
- `model_checkpoints` what is known of a checkpoint
- `access`       who may do what
- `lifecycle`    the life of a Studio as one table
- `effects`      what the table's entries change
- `worklist`     what is left to do for a Studio
- `progress`     the steps that people see of a start or a stop
- `calendar_hold` no lifespan ends because a clock jumped
- `checkpoint_life` the life of a run's checkpoint
- `checkpoint_names` what checkpoints are called
- `checkpoint_search` what to look for among them, as people write it
- `desired`      what is wanted of a run
- `browsing_messages` what a process that reads checkpoints is asked, and answers
- `collecting_messages` what a process that deletes and collects is told, and answers
- `storage_frames` how such messages look on their way
- `spec_builder` what an engine is handed for a run
- `volume_sizes` how large sessions' volumes are
- `saving_interval` how often sessions are saved
- `work_access` how buckets of work directories are reached
- `edits`        what an edit makes of a Studio
- `validation`   request bodies and what may be wrong with them
- `errors`       expected failures, as sentences
- `database_troubles` what databases say when their disk is full or they are busy, as sentences
- `settings`     numbers and addresses the core needs

What it does:

- `service`      the commands of people
- `service_agents` those of agents
- `service_checkpoints` what people do with checkpoints
- `service_edges` those of edges
- `service_logs` logs of sessions that are over
- `service_unrecorded` ends sessions when nothing can be written down
- `service_workspace` users and settings
- `reconciler`   carries out what is left to do
- `run_checkpoints` a run's checkpoint: opened, then as agents say
- `engine_calls` its questions to engines
- `leadership`   one reconciler at a time
- `removals`     which checkpoints' data goes, and whose turn it is
- `browsing`     what is in a checkpoint, and files out of it
- `browsing_worker` the process that reads for it
- `collecting`   frees what deleted checkpoints took
- `collecting_worker` the process that does it
- `storage_process` such a process, as it is seen from here
- `storage_worker` and what all of them have in common
- `work_directories` how a work directory is opened
- `health_poll`  asks sessions for their health the way users reach them
- `clipping`     cuts what agents say to a size that can be kept
- `changes`      the one way a Studio changes
- `events`       changes, told to whoever listens
- `core`         what the parts above share
- `store`        transactions
- `store_people` their part for people
- `store_checkpoints` their part for checkpoints
- `store_removals` their part for data to be deleted
- `store_rows`   values to rows and back
- `schema`       the tables
- `migrations`   how a database gets them
- `engines`      where sessions run

How it is reached:

- `app`          opens, listens, closes
- `composition`  builds the parts and hands them to each other
- `listening`    limits of requests, and what is said of those that can't be read
- `web`          the aiohttp application
- `bodies`       request bodies, and no more of them than was agreed
- `api`          the HTTP API as one table
- `login`        credentials, login pages, the hand-over to sessions
- `page`         the Studios page
- `config`       what it is told from outside
"""
