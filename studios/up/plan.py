"""What the options of `studios up` come to: every path and address, derived once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from common.session_spec import SessionSettings, VolumeLimits
from control_plane.work_access import WorkAccess

IMAGES_DIR = Path(__file__).resolve().parents[2] / "images"
PORT = 9191
DOMAIN = "studio.localhost"
DATABASE_FILE = "studios.db"
"""In the data folder, by the control plane."""
WORK_FOLDER = "work"
"""In the data folder: the work directory, unless told otherwise."""
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One `studios up`, as asked for."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = PORT
    domain: str = DOMAIN
    work_dir: str
    """URL of the work directory."""
    demo: bool = False
    carried: tuple[Path, ...] = ()
    """Folders of this machine that sessions see."""
    volume: VolumeLimits = field(default_factory=VolumeLimits)
    """Sizes of sessions' volumes."""
    session: SessionSettings = field(default_factory=SessionSettings)
    """What agents are told of their sessions."""
    access: WorkAccess = field(default_factory=WorkAccess)
    """How the bucket of the work directory is reached."""
    images_dir: Path = IMAGES_DIR

    @property
    def authority(self) -> str:
        """The domain with the port, as browsers show it."""
        return self.domain if self.port == _HTTP_PORT else f"{self.domain}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    @property
    def socket(self) -> Path:
        """Where the control plane listens."""
        return self.data_dir / "control-plane.sock"

    @property
    def log(self) -> Path:
        return self.data_dir / "studios.log"
