// The checkpoints of one Studio: a list that follows what its session saves.

import * as api from "./api.js";
import { CheckpointRow } from "./checkpoint-row.js";
import * as words from "./saved-words.js";

const RELOAD_MILLISECONDS = 150; // several changes in a row are read once

const byId = (id) => document.getElementById(id);

export class CheckpointsDialog {
  #dialog = byId("checkpoints-dialog");
  #studio = null;
  #checkpoints = [];
  #total = 0;
  #rows = new Map();
  #asked = null; // {number, before} of a *Save now* whose outcome is to be shown
  #reload = null;
  #reads = 0;
  #actions;
  #save;

  /**
   * `confirm` asks, `browse` and `startAsNew` take a Studio and a checkpoint, `save` a Studio's id;
   * it returns the checkpoint that is saved to.
   */
  constructor({ confirm, browse, startAsNew, save }) {
    this.#save = save;
    this.#actions = {
      rename: async (checkpoint, name) => {
        this.#put(await api.renameCheckpoint(this.#studio.sessionId, checkpoint.id, name));
      },
      browse: (checkpoint) => browse(this.#studio, checkpoint),
      startAsNew: (checkpoint) => {
        this.#dialog.close();
        startAsNew(this.#studio, checkpoint);
      },
      remove: (checkpoint) => {
        const { sessionId } = this.#studio;
        confirm.ask({
          title: `Delete the checkpoint ${checkpoint.name}?`,
          text: words.loss(checkpoint),
          yes: "Delete checkpoint",
          no: "Keep it",
          action: async () => {
            await api.removeCheckpoint(sessionId, checkpoint.id);
            this.#drop(checkpoint.id);
            this.#say(`${checkpoint.name} was deleted.`);
            byId("checkpoints-title").focus();
          },
        });
      },
    };
    byId("checkpoints-close").addEventListener("click", () => this.#dialog.close());
    byId("checkpoints-more").addEventListener("click", () => this.#readMore());
    byId("save-now").addEventListener("click", () => this.#saveNow());
    this.#dialog.addEventListener("close", () => {
      clearTimeout(this.#reload);
      this.#studio = null;
    });
  }

  async open(studio) {
    this.#studio = studio;
    this.#checkpoints = [];
    this.#rows.clear();
    this.#asked = null;
    byId("checkpoints-list").replaceChildren();
    byId("checkpoints-list").ariaBusy = "true";
    byId("checkpoints-more").hidden = true;
    byId("checkpoints-empty").hidden = true;
    this.#problem("");
    this.#say("");
    this.#renderHead();
    this.#dialog.showModal();
    byId("checkpoints-title").focus();
    await this.#read();
  }

  /** A Studio changed: if it is the one that is shown, its checkpoints may have. */
  changed(studio) {
    if (studio?.sessionId !== this.#studio?.sessionId) return;
    this.#studio = studio;
    const known = studio.checkpoint && this.#checkpoints.find((one) => one.id === studio.checkpoint.id);
    if (known) this.#put(studio.checkpoint);
    this.#render();
    clearTimeout(this.#reload);
    this.#reload = setTimeout(() => this.#read(), RELOAD_MILLISECONDS);
  }

  removed(sessionId) {
    if (this.#studio?.sessionId === sessionId) this.#dialog.close();
  }

  tick() {
    if (this.#studio) this.#render();
  }

  async #read() {
    const { sessionId } = this.#studio;
    const read = ++this.#reads;
    try {
      const { checkpoints, totalSize } = await api.checkpoints(sessionId, 0);
      if (read !== this.#reads || this.#studio?.sessionId !== sessionId) return;
      const older = this.#checkpoints.filter((one) => one.id < (checkpoints.at(-1)?.id ?? 0));
      this.#checkpoints = totalSize > checkpoints.length ? [...checkpoints, ...older] : checkpoints;
      this.#total = totalSize;
      this.#problem("");
      this.#render();
    } catch (error) {
      this.#problem(error.message);
    }
  }

  async #readMore() {
    const { sessionId } = this.#studio;
    const first = this.#checkpoints.length;
    try {
      const { checkpoints, totalSize } = await api.checkpoints(sessionId, first);
      if (this.#studio?.sessionId !== sessionId) return;
      const known = new Set(this.#checkpoints.map((one) => one.id));
      const more = checkpoints.filter((one) => !known.has(one.id));
      this.#checkpoints = [...this.#checkpoints, ...more];
      this.#total = checkpoints.length === 0 ? this.#checkpoints.length : totalSize;
      this.#render();
      if (more.length > 0) this.#rows.get(more[0].id).focusName();
    } catch (error) {
      this.#problem(error.message);
    }
  }

  async #saveNow() {
    const button = byId("save-now");
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    this.#problem("");
    try {
      const checkpoint = await this.#save(this.#studio.sessionId);
      this.#asked = { number: checkpoint.id, before: checkpoint.dateSaved };
      if (this.#studio) this.#put(checkpoint);
    } catch (error) {
      this.#problem(error.message);
    } finally {
      button.ariaDisabled = null;
    }
  }

  #put(checkpoint) {
    this.#checkpoints = this.#checkpoints.map((one) => (one.id === checkpoint.id ? checkpoint : one));
    this.#render(checkpoint);
  }

  #drop(number) {
    this.#checkpoints = this.#checkpoints.filter((one) => one.id !== number);
    this.#total -= 1;
    this.#render();
  }

  #render(newest = null) {
    if (!this.#studio) return;
    this.#renderHead(newest);
    const list = byId("checkpoints-list");
    list.ariaBusy = "false";
    const ids = new Set(this.#checkpoints.map((one) => one.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const latest = this.#checkpoints.find(words.holdsSomething);
    this.#checkpoints.forEach((checkpoint, index) => {
      let row = this.#rows.get(checkpoint.id);
      if (!row) this.#rows.set(checkpoint.id, (row = new CheckpointRow(this.#actions)));
      row.update(checkpoint, this.#studio, checkpoint === latest);
      if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
    });
    byId("checkpoints-empty").hidden = this.#checkpoints.length > 0;
    byId("checkpoints-more").hidden = this.#checkpoints.length >= this.#total;
  }

  #renderHead(newest = null) {
    const studio = this.#studio;
    const now = Date.now();
    byId("checkpoints-studio").textContent = studio.name;
    byId("checkpoints-age").textContent = words.age(studio, now);
    const late = words.lateness(studio, now);
    byId("checkpoints-late").textContent = late;
    const may = studio.statusInfo.status === "running" && studio.allowedActions.includes("start");
    byId("save-now").hidden = !may;
    const asked = this.#asked && (newest ?? this.#checkpoints.find((one) => one.id === this.#asked.number));
    if (asked) {
      const { text, isFinal } = words.outcome(asked, this.#asked.before, studio);
      this.#say(text);
      if (isFinal) this.#asked = null;
    }
  }

  /** Told to screen readers, too; an equal text is not told again. */
  #say(text) {
    const status = byId("checkpoints-status");
    if (status.textContent !== text) status.textContent = text;
  }

  #problem(text) {
    byId("checkpoints-problem").textContent = text;
  }
}
