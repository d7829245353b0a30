"""The agent's numbers in Prometheus's text format, made of a status report when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.messages import ToolPhase

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from common.messages import (
        CheckpointStatus,
        EdgeTunnel,
        RootStatus,
        StatusReport,
        ToolStatus,
        VolumeStatus,
    )

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Counters:
    """Numbers that no report carries."""

    reports_sent: int
    report_failures: int
    requests: int
    growths: int
    growth_failures: int
    last_save_seconds: float | None = None
    """How long the last commit of the session's files took; None before there is one."""


class _Exposition:
    """One, being put together."""

    def __init__(self) -> None:
        # Loaded by the first scrape: an agent that nobody scrapes is 2 MB smaller without.
        import prometheus_client  # noqa: PLC0415

        self._library = prometheus_client
        self._registry = prometheus_client.CollectorRegistry()

    def gauge(self, name: str, text: str, value: float) -> None:
        self._library.Gauge(name, text, registry=self._registry).set(value)

    def counter(self, name: str, text: str, value: float) -> None:
        """Add one whose name ends in `_total` when it is read."""
        self._library.Counter(name, text, registry=self._registry).inc(value)

    def tunnel_connections(self, edges: Iterable[EdgeTunnel]) -> None:
        connections = self._library.Gauge(
            "studio_tunnel_connections",
            "Tunnel connections by edge and state",
            ["edge", "state"],
            registry=self._registry,
        )
        for edge in edges:
            connections.labels(edge.edge_url, "parked").set(edge.parked)
            connections.labels(edge.edge_url, "busy").set(edge.busy)

    def text(self) -> bytes:
        return self._library.generate_latest(self._registry)


def render(report: StatusReport, counters: Counters) -> bytes:
    """Return the exposition of everything; of what a session doesn't have, nothing."""
    told = _Exposition()
    _tell_tool(told, report.tool)
    if report.volume is not None:
        _tell_volume(told, report.volume, counters)
    if report.checkpoint is not None:
        _tell_checkpoint(told, report.checkpoint, counters, report.sent_at)
    if report.root is not None:
        _tell_root(told, report.root)
    if report.activity is not None:
        websockets = report.activity.open_websockets
        told.gauge("studio_open_websockets", "WebSockets open to the tool", websockets)
    told.tunnel_connections(report.tunnel.edges if report.tunnel else ())
    told.counter("studio_reports", "Status reports delivered", counters.reports_sent)
    told.counter("studio_report_failures", "Status reports lost", counters.report_failures)
    told.counter("studio_requests", "Requests forwarded to the tool", counters.requests)
    return told.text()


def _tell_tool(told: _Exposition, tool: ToolStatus) -> None:
    told.gauge("studio_tool_ready", "1 if the tool answers", tool.phase is ToolPhase.READY)
    told.counter("studio_tool_restarts", "Times the tool was started again", tool.restarts)
    if tool.resources is not None:
        use = tool.resources
        told.gauge("studio_tool_cpu_percent", "CPU of all processes, 100 a core", use.cpu_percent)
        told.gauge("studio_tool_memory_bytes", "Memory of all processes", use.memory_bytes)
        told.gauge("studio_tool_processes", "Processes of the tool", use.processes)


def _tell_volume(told: _Exposition, volume: VolumeStatus, counters: Counters) -> None:
    told.gauge("studio_volume_size_bytes", "Size of the session's volume", volume.size_bytes)
    told.gauge("studio_volume_free_bytes", "What can still be written to it", volume.free_bytes)
    told.gauge("studio_volume_limit_bytes", "How large it may become", volume.limit_bytes)
    told.gauge("studio_volume_full", "1 if it is at its limit and nearly full", volume.full)
    told.counter("studio_volume_growths", "Times the volume grew", counters.growths)
    failures = counters.growth_failures
    told.counter("studio_volume_growth_failures", "Times the volume could not grow", failures)


def _tell_checkpoint(
    told: _Exposition, saved: CheckpointStatus, counters: Counters, now: datetime
) -> None:
    if saved.committed_at is not None:
        age = max(0.0, (now - saved.committed_at).total_seconds())
        told.gauge("studio_checkpoint_age_seconds", "Age of the newest state that is safe", age)
    if counters.last_save_seconds is not None:
        seconds = counters.last_save_seconds
        told.gauge("studio_checkpoint_last_save_seconds", "How long the last one took", seconds)
    told.gauge("studio_checkpoint_entries", "Files and folders in it", saved.entries)
    told.gauge("studio_checkpoint_file_bytes", "Size of its files", saved.file_bytes)
    told.gauge("studio_checkpoint_in_progress", "1 if files are being saved", saved.in_progress)
    told.counter("studio_checkpoint_generations", "States committed to it", saved.generation)
    told.counter("studio_checkpoint_failures", "Times files were not saved", saved.failures)
    added = saved.stored_bytes
    told.counter("studio_checkpoint_stored_bytes", "Bytes added to the work directory", added)


def _tell_root(told: _Exposition, root: RootStatus) -> None:
    kills, hits = root.memory_kill_count, root.process_limit_hits
    told.counter("studio_memory_kills", "Processes ended for want of memory", kills)
    told.counter("studio_process_limit_hits", "Processes that could not be started", hits)
