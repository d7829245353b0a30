"""**Start here:** every call of the API, in one table.

The application routes by it and `/api/openapi.json` is made of it, so that a call that is not here
does not exist, and one that is here is documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.api.calls_of_checkpoints import checkpoint_routes
from control_plane.api.calls_of_members import people_routes, studio_routes
from control_plane.api.calls_of_programs import program_routes

if TYPE_CHECKING:
    from control_plane.api.gates_and_handlers import Gates, Handlers
    from control_plane.api.route import AnyRoute


def all_routes(gates: Gates, handlers: Handlers) -> list[AnyRoute]:
    return [
        *studio_routes(gates, handlers),
        *checkpoint_routes(gates, handlers),
        *people_routes(gates, handlers),
        *program_routes(gates, handlers),
    ]
