// How things are said: pure functions from data to text.

const LABELS = { buildFailed: "build-failed" };
const TONES = {
  running: "green",
  building: "amber",
  starting: "amber",
  stopping: "amber",
  errored: "red",
  buildFailed: "red",
  stopped: "grey",
};
const REASONS = {
  LIFESPAN_EXPIRED: "Stopped because its lifespan ended.",
  SPOT_RECLAMATION: "Stopped because the cloud took its spot machine back.",
  NO_STATS_AVAIL: "Stopped because it no longer reported.",
  CREDITS_RUN_OUT: "Stopped because the credits ran out.",
  IDLE: "Stopped because nobody used it.",
};

const IN_USE = new Set(["running", "stopping"]);
const FORCE_STOP_AFTER_MILLISECONDS = 10 * 60_000; // the server's own limit

export const statusLabel = (status) => LABELS[status] ?? status;
export const tone = (status) => TONES[status] ?? "grey";

/** What to say below the name: the server's message, else why it stopped. */
export function message(studio) {
  const { status, message: text, stopReason } = studio.statusInfo;
  if (text && status !== "running") return text;
  if (status === "running" && studio.health && !studio.health.ok) return `Last health check: ${studio.health.message}`;
  return status === "stopped" ? REASONS[stopReason] ?? "" : text ?? "";
}

/** Stopping has taken so long that a second stop ends it without waiting. */
export function mayForceStop(studio, now) {
  const { status, lastUpdate } = studio.statusInfo;
  return status === "stopping" && now - new Date(lastUpdate) >= FORCE_STOP_AFTER_MILLISECONDS;
}

/** “7 h 12 min”, “12 min”, “less than a minute”. */
export function duration(milliseconds) {
  const minutes = Math.floor(milliseconds / 60000);
  if (minutes < 1) return "less than a minute";
  const hours = Math.floor(minutes / 60);
  if (hours === 0) return `${minutes} min`;
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}

/** One line on a session in use: how long still, who is connected. */
export function use(studio, now) {
  if (studio.statusInfo.status !== "running") return "";
  const parts = [];
  if (studio.deadline) {
    const left = new Date(studio.deadline) - now;
    parts.push(left > 0 ? `Stops in ${duration(left)}` : "Stopping soon");
  } else {
    parts.push("Keeps running");
  }
  const people = new Set(studio.activeConnections.map((connection) => connection.userName));
  if (people.size > 0) parts.push(`${[...people].join(", ")} connected`);
  return parts.join(" · ");
}

/** “1.5 GB”. */
const gigabytes = (bytes) => `${Number((bytes / 1024 ** 3).toFixed(1))} GB`;

/** How full the session's own disk is, and how far it still grows. */
export function volume(studio) {
  if (!studio.volume || !IN_USE.has(studio.statusInfo.status)) return "";
  const { sizeBytes, freeBytes, limitBytes, full } = studio.volume;
  const used = `Disk: ${gigabytes(sizeBytes - freeBytes)} of ${gigabytes(sizeBytes)} used`;
  if (full) return `${used}, full`;
  return sizeBytes < limitBytes ? `${used}, grows to ${gigabytes(limitBytes)}` : used;
}

/** What its users should know about a session, each thing once. */
export function warnings(studio) {
  const said = studio.volume?.message;
  return [...new Set([...studio.warnings, ...(said ? [`${said[0].toUpperCase()}${said.slice(1)}.`] : [])])];
}

/** What a screen reader is told when a Studio changes; empty for what isn't worth a word. */
export function announcement(before, after) {
  if (before && !after) return `${before.name} was deleted.`;
  if (!after) return "";
  if (before?.statusInfo.status === after.statusInfo.status) {
    const known = new Set(warnings(before));
    const news = warnings(after).filter((warning) => !known.has(warning));
    return after.statusInfo.status === "running" && news.length > 0 ? `${after.name}: ${news.join(" ")}` : "";
  }
  if (!before) return `${after.name} was added.`;
  const text = message(after);
  return `${after.name} is ${statusLabel(after.statusInfo.status)}.${text ? ` ${text}` : ""}`;
}

export function matches(studio, query) {
  const wanted = query.trim().toLowerCase();
  const texts = [studio.name, studio.description, studio.template.tool, studio.user.userName, studio.sessionId];
  return texts.some((text) => (text ?? "").toLowerCase().includes(wanted));
}
