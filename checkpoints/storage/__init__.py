"""Objects in a folder or a bucket: named, immutable, created only if absent.

**Start here:** `storage`, whose docstrings are the specification that `tests/checkpoints/storage`
holds every implementation to.

- `storage`         the Protocol, and what its operations are about
- `failures`        what can go wrong, and whether trying again helps
- `coalescing`      which ranges are read together

What stores:
- `folder`          a folder of a file system, in threads
- `files`           its files, and how they are made durable
- `obstore_storage` buckets of S3, GCS and Azure, and memory
- `whole_objects`   parts of objects, for stores that give only whole ones
- `translation`     foreign errors into `failures`

What makes a store fit for use, each wrapped around the next:
- `retrying`        tries again, and finds out what became of an uncertain creation
- `limited`         bounds operations, bytes and time in flight
- `logged`          counts, and logs what is slow

- `urls`            what a work directory's address says
- `environment`     what it doesn't, from variables
- `opening`         from an address to a store
- `probe`           asks a store whether it can do what everything here relies on
"""
