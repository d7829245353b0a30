// Start here: the Studios page. Joins the live list (live.js) with its cards (card.js) and dialogs.

import * as api from "./api.js";
import { Card } from "./card.js";
import { CheckpointsDialog } from "./checkpoints.js";
import { ConfirmDialog } from "./confirm.js";
import { AddDialog, DeleteDialog } from "./dialogs.js";
import { FilesDialog } from "./files.js";
import { LiveStudios } from "./live.js";
import * as saved from "./saved-words.js";
import * as words from "./words.js";

const TICK_MILLISECONDS = 15_000; // the shortest text that counts down says minutes

const LIVE_TEXT = { connecting: "Connecting", live: "Live", lost: "Connection lost, trying again" };

const byId = (id) => document.getElementById(id);

const studios = new LiveStudios();
const cards = new Map();
let wanted = new URLSearchParams(location.search).get("start");

const actions = {
  start: (id) => attempt(() => api.start(id)),
  stop: (id) => {
    const studio = studios.get(id);
    return words.mayForceStop(studio, Date.now()) ? forceStop(studio) : attempt(() => api.stop(id));
  },
  extend: (id) => attempt(async () => {
    studios.put(await api.extend(id));
    announce(`${studios.get(id).name}: ${words.use(studios.get(id), Date.now())}.`);
  }),
  remove: (id) => deleteDialog.open(studios.get(id)),
  save: (id) => attempt(() => save(id)),
  checkpoints: (id) => checkpointsDialog.open(studios.get(id)),
};

/** Have a session save its files now; returns the checkpoint that it saves them to. */
async function save(id) {
  const checkpoint = await api.saveNow(id);
  const studio = studios.get(id);
  if (studio) {
    studios.put({ ...studio, checkpoint });
    announce(`${studio.name} is being saved.`);
  }
  return checkpoint;
}

function forceStop(studio) {
  confirmDialog.ask({
    title: `Force ${studio.name} to stop?`,
    text: saved.stopAdvice(studio, true),
    yes: "Force stop",
    no: "Wait",
    action: () => api.stop(studio.sessionId),
  });
}

const addDialog = new AddDialog((studio) => {
  search("");
  studios.put(studio);
  cards.get(studio.sessionId).focusName();
});
const confirmDialog = new ConfirmDialog();
const filesDialog = new FilesDialog();
const checkpointsDialog = new CheckpointsDialog({
  confirm: confirmDialog,
  browse: (studio, checkpoint) => filesDialog.open(studio, checkpoint),
  startAsNew: (studio, checkpoint) => addDialog.open({ studio, checkpoint }),
  save,
});
const deleteDialog = new DeleteDialog((studio) => {
  studios.drop(studio.sessionId);
  byId("main").focus();
});

/** Do what a button stands for; what goes wrong is shown as the server says it. */
async function attempt(action) {
  showProblem("");
  try {
    await action();
  } catch (error) {
    showProblem(error.message);
  }
}

function showProblem(text) {
  byId("alert").hidden = text === "";
  byId("alert-text").textContent = text;
}

function announce(text) {
  if (text) byId("announce").textContent = text;
}

function render() {
  const all = studios.all;
  const query = byId("search").value;
  const shown = all.filter((studio) => words.matches(studio, query));
  const ids = new Set(shown.map((studio) => studio.sessionId));
  for (const [id, card] of cards) {
    if (ids.has(id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  const list = byId("cards");
  shown.forEach((studio, index) => {
    let card = cards.get(studio.sessionId);
    if (card) card.update(studio);
    else cards.set(studio.sessionId, (card = new Card(studio, actions)));
    // Moving an element that is in place already would take the focus from it.
    if (list.children[index] !== card.element) list.insertBefore(card.element, list.children[index] ?? null);
  });
  list.ariaBusy = "false";
  byId("empty").hidden = all.length > 0;
  byId("nothing-found").hidden = all.length === 0 || shown.length > 0;
  byId("nothing-query").textContent = query;
  const running = all.filter((studio) => studio.statusInfo.status === "running").length;
  byId("count").textContent = all.length === 0 ? "" : `${running} of ${all.length} running`;
}

function search(text) {
  byId("search").value = text;
  render();
}

function highlightWanted() {
  if (!wanted) return;
  const card = cards.get(wanted);
  if (card) card.highlight();
  else showProblem("The Studio this address names isn’t here. It may have been deleted.");
  wanted = null;
}

studios.addEventListener("list", () => {
  render();
  highlightWanted();
  for (const studio of studios.all) checkpointsDialog.changed(studio);
});
studios.addEventListener("change", ({ detail: { before, after } }) => {
  render();
  announce(words.announcement(before, after) || saved.announcement(before, after));
  if (after) checkpointsDialog.changed(after);
  else if (before) checkpointsDialog.removed(before.sessionId);
});
studios.addEventListener("problem", ({ detail }) => showProblem(detail));
studios.addEventListener("state", ({ detail }) => {
  byId("live").dataset.state = detail;
  byId("live-text").textContent = LIVE_TEXT[detail];
});

byId("search").addEventListener("input", render);
byId("search-clear").addEventListener("click", () => search(""));
byId("alert-close").addEventListener("click", () => showProblem(""));
for (const id of ["add", "empty-add"]) byId(id).addEventListener("click", () => addDialog.open());
setInterval(() => {
  for (const [id, card] of cards) card.update(studios.get(id));
  checkpointsDialog.tick();
}, TICK_MILLISECONDS);

await attempt(async () => {
  const { user } = await api.me();
  byId("who-name").textContent = user.userName;
  byId("who-role").textContent = user.role;
  const mayAdd = user.allowedActions.includes("create");
  byId("add").hidden = !mayAdd;
  byId("empty-add").hidden = !mayAdd;
});
studios.open();
