// What is said of checkpoints: pure functions from data to text.

import { duration } from "./words.js";

const INTERVALS_MAX = 2; // one failure that the next attempt makes good concerns nobody
const CAPTURE_SECONDS = 60; // that saving may take on top

const SESSION = new Set(["starting", "running", "stopping"]);
const STATES = {
  empty: "nothing saved",
  interim: "not all of the session",
  finalized: "complete",
  invalid: "damaged",
};

const seconds = (from, now) => Math.max(0, (now - new Date(from)) / 1000);
const ago = (from, now) => `${duration(seconds(from, now) * 1000)} ago`;
const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** “1.5 GB”, “12 B”. */
export function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let number = bytes;
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${number >= 100 || unit === 0 ? Math.round(number) : Number(number.toFixed(1))} ${units[unit]}`;
}

/** The moment, as the reader's own clock and language have it. */
export function moment(text) {
  return new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

const counted = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** The checkpoint that the session under way saves to, if there is one. */
export function current(studio) {
  const { checkpoint } = studio;
  const isOn = SESSION.has(studio.statusInfo.status);
  return isOn && checkpoint?.runNumber === studio.runNumber ? checkpoint : null;
}

/** Whether a session may still write to it: it is nobody else's to begin with, and can't go. */
export function isWritten(checkpoint, studio) {
  return (
    checkpoint.status !== "finalized" &&
    checkpoint.runNumber === studio.runNumber &&
    SESSION.has(studio.statusInfo.status)
  );
}

export const holdsSomething = (checkpoint) => checkpoint.generation > 0 && checkpoint.status !== "invalid";

/** One line on a card: what losing that machine now would cost. */
export function age(studio, now) {
  const { checkpoint } = studio;
  if (!checkpoint) return "";
  const { dateSaved, saving, status } = checkpoint;
  if (current(studio)) {
    if (saving) return dateSaved ? `Saving now; last saved ${ago(dateSaved, now)}` : "Saving for the first time";
    return dateSaved ? `Saved ${ago(dateSaved, now)}` : "Nothing saved yet";
  }
  if (!dateSaved) return "";
  const rest = status === "interim" ? "; what came later is on that session’s machine only" : "";
  return `Last saved ${ago(dateSaved, now)}${rest}`;
}

/** Why a running Studio's files are older than they should be; empty while all is well. */
export function lateness(studio, now) {
  const checkpoint = current(studio);
  if (!checkpoint || studio.statusInfo.status !== "running") return "";
  const since = seconds(checkpoint.dateSaved ?? checkpoint.dateCreated, now);
  if (since <= INTERVALS_MAX * studio.checkpointIntervalSeconds + CAPTURE_SECONDS) return "";
  const what = checkpoint.dateSaved
    ? `What was changed in the last ${duration(since * 1000)} is not saved.`
    : "None of the files have been saved yet.";
  if (checkpoint.message) return `${what} ${sentence(checkpoint.message)} It is tried again by itself.`;
  if (checkpoint.saving) return `${what} It is being saved now, which takes long: there is much of it, or the line is slow.`;
  return what;
}

/**
 * What *Save now* has come to; empty while that isn't known. `before` is as of when files were safe
 * when it was asked for: until that changes, what says that nothing is being saved is old news.
 */
export function outcome(checkpoint, before, studio) {
  const isNewer = checkpoint.dateSaved && (!before || new Date(checkpoint.dateSaved) > new Date(before));
  // A session that is over answers nobody: it has saved all, or nobody knows since when.
  const isAnswered = !checkpoint.saving && current(studio);
  if (isNewer && (isAnswered || checkpoint.status === "finalized")) {
    return { text: `Saved: everything as of ${moment(checkpoint.dateSaved)} is safe.`, isFinal: true };
  }
  if (!current(studio)) return { text: "The session ended before it was saved once more.", isFinal: true };
  const trouble = checkpoint.message && `Not saved yet: ${sentence(checkpoint.message)} It is tried again by itself.`;
  return { text: trouble || "Saving…", isFinal: false };
}

export const state = (checkpoint, studio) =>
  isWritten(checkpoint, studio) ? (checkpoint.saving ? "saving" : "in use") : STATES[checkpoint.status] ?? checkpoint.status;

/** “Safe as of …  · 1.2 GB in 12,431 files and folders · …”. */
export function facts(checkpoint, now) {
  if (!checkpoint.dateSaved) return [`Begun ${moment(checkpoint.dateCreated)}`, `by ${checkpoint.author.userName}`].join(" · ");
  return [
    `Safe as of ${moment(checkpoint.dateSaved)} (${ago(checkpoint.dateSaved, now)})`,
    contents(checkpoint),
    `generation ${checkpoint.generation}`,
    `by ${checkpoint.author.userName}`,
  ].join(" · ");
}

export const contents = (checkpoint) =>
  `${size(checkpoint.size)} in ${counted(checkpoint.entries, "file or folder", "files and folders")}`;

/** What deleting a checkpoint costs. */
export function loss(checkpoint) {
  const what = checkpoint.dateSaved
    ? `The files as of ${moment(checkpoint.dateSaved)}, ${contents(checkpoint)}, can’t be brought back from it any more.`
    : "It holds no files.";
  return `${what} Other checkpoints, and Studios that were started from this one, keep all of theirs.`;
}

/** While a stop waits for storage: what it waits for, and what forcing it means. Else empty. */
export function stopAdvice(studio, mayForce) {
  if (studio.statusInfo.status !== "stopping") return "";
  const step = studio.progress.find((one) => one.status === "in-progress");
  const isSaving = /^save the files/i.test(step?.message ?? "");
  if (!isSaving && !mayForce) return "";
  const what = isSaving
    ? "What is not saved yet stays on that session’s machine, and the Studio’s next session there saves it first."
    : "What is not saved yet stays on that session’s machine.";
  return mayForce
    ? `Force stop doesn’t wait any longer. ${what}`
    : `It stops once its files are safe. After 10 minutes it can be forced. ${what}`;
}

/** What a screen reader is told when saving comes to an end, or to trouble; else empty. */
export function announcement(before, after) {
  const was = before && current(before);
  const is = after && current(after);
  if (!was || !is || was.id !== is.id) return "";
  if (is.message && is.message !== was.message) return `${after.name}: ${sentence(is.message)}`;
  return "";
}
