"""The agent's numbers in Prometheus's text format, made of a status report when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.messages import ToolPhase

if TYPE_CHECKING:
    from common.messages import StatusReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Counters:
    """Numbers that no report carries."""

    reports_sent: int
    report_failures: int
    requests: int
    growths: int
    growth_failures: int


def render(report: StatusReport, counters: Counters) -> bytes:
    """Return the exposition of everything."""
    # Loaded by the first scrape: an agent that nobody scrapes is 2 MB smaller without.
    from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(name, text, registry=registry).set(value)

    def counter(name: str, text: str, value: float) -> None:
        Counter(name, text, registry=registry).inc(value)

    tool = report.tool
    gauge("studio_tool_ready", "1 if the tool answers", tool.phase is ToolPhase.READY)
    counter("studio_tool_restarts", "Times the tool was started again", tool.restarts)
    if tool.resources is not None:
        use = tool.resources
        gauge("studio_tool_cpu_percent", "CPU of all processes, 100 is a core", use.cpu_percent)
        gauge("studio_tool_memory_bytes", "Memory of all processes", use.memory_bytes)
        gauge("studio_tool_processes", "Processes of the tool", use.processes)
    if report.volume is not None:
        volume = report.volume
        gauge("studio_volume_size_bytes", "Size of the session's volume", volume.size_bytes)
        gauge("studio_volume_free_bytes", "What can still be written to it", volume.free_bytes)
        gauge("studio_volume_limit_bytes", "How large it may become", volume.limit_bytes)
        gauge("studio_volume_full", "1 if it is at its limit and nearly full", volume.full)
        counter("studio_volume_growths", "Times the volume grew", counters.growths)
        failures = counters.growth_failures
        counter("studio_volume_growth_failures", "Times the volume could not grow", failures)
    if report.root is not None:
        root = report.root
        kills = root.memory_kill_count
        counter("studio_memory_kills", "Processes ended for want of memory", kills)
        hits = root.process_limit_hits
        counter("studio_process_limit_hits", "Processes that could not be started", hits)
    if report.activity is not None:
        websockets = report.activity.open_websockets
        gauge("studio_open_websockets", "WebSockets open to the tool", websockets)
    connections = Gauge(
        "studio_tunnel_connections",
        "Tunnel connections by edge and state",
        ["edge", "state"],
        registry=registry,
    )
    for edge in report.tunnel.edges if report.tunnel else ():
        connections.labels(edge.edge_url, "parked").set(edge.parked)
        connections.labels(edge.edge_url, "busy").set(edge.busy)
    counter("studio_reports", "Status reports delivered", counters.reports_sent)
    counter("studio_report_failures", "Status reports lost", counters.report_failures)
    counter("studio_requests", "Requests forwarded to the tool", counters.requests)
    return generate_latest(registry)
