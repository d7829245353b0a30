// The two questions the page asks: what to add, and whether really to delete.
//
// <dialog> brings the focus trap, Escape, and the return of focus to the button that opened it.

import * as api from "./api.js";

const NAME_CHECK_MILLISECONDS = 250; // after the last key, so that not every letter asks the server

const byId = (id) => document.getElementById(id);

export class AddDialog {
  #dialog = byId("add-dialog");
  #form = byId("add-form");
  #name = byId("add-name");
  #timer = null;
  #asked = 0;
  #busy = false;
  #source = null; // {studio, checkpoint} that the new one begins with

  /** `added` gets the new Studio. */
  constructor(added) {
    byId("add-cancel").addEventListener("click", () => this.#dialog.close());
    this.#name.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#checkName(), NAME_CHECK_MILLISECONDS);
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(event.submitter?.value !== "stay", added);
    });
  }

  /** `source` is the `{studio, checkpoint}` that the new one is to begin with, if any. */
  async open(source = null) {
    this.#source = source;
    this.#form.reset();
    byId("add-title").textContent = source ? "Start as a new Studio" : "Add a Studio";
    byId("add-template").hidden = source !== null;
    byId("add-source").hidden = source === null;
    byId("add-source").textContent = source
      ? `Begins with the files of ${source.checkpoint.name}, a checkpoint of ${source.studio.name}, and has its tool. Both go on apart from then on.`
      : "";
    this.#problem("");
    this.#nameProblem("");
    this.#name.value = `studio-${Math.floor(Math.random() * 0x10000).toString(16).padStart(4, "0")}`;
    this.#dialog.showModal();
    this.#name.focus();
    this.#name.select();
    if (source) return;
    try {
      const { templates } = await api.templates();
      byId("add-templates").replaceChildren(...templates.map((template, index) => choice(template, index === 0)));
    } catch (error) {
      this.#problem(error.message);
    }
  }

  async #checkName() {
    const asked = ++this.#asked;
    let problem = "";
    try {
      await api.checkName(this.#name.value);
    } catch (error) {
      problem = error.message;
    }
    if (asked === this.#asked) this.#nameProblem(problem);
  }

  async #submit(start, added) {
    if (this.#busy) return;
    clearTimeout(this.#timer);
    this.#problem("");
    const fields = new FormData(this.#form);
    const body = {
      name: fields.get("name").trim(),
      description: fields.get("description").trim(),
      ...(this.#source
        ? { computeEnvId: this.#source.studio.computeEnv.id, initialCheckpointId: this.#source.checkpoint.id }
        : { computeEnvId: "local", dataStudioToolUrl: fields.get("template") }),
    };
    this.#busy = true;
    try {
      const { studio } = await api.add(body, { start });
      this.#dialog.close();
      added(studio);
    } catch (error) {
      this.#problem(error.message);
    } finally {
      this.#busy = false;
    }
  }

  #problem(text) {
    byId("add-problem").textContent = text;
  }

  #nameProblem(text) {
    byId("add-name-problem").textContent = text;
    this.#name.setAttribute("aria-invalid", String(text !== ""));
  }
}

function choice(template, checked) {
  const label = document.createElement("label");
  label.className = "choice";
  const input = document.createElement("input");
  input.type = "radio";
  input.name = "template";
  input.value = template.repository;
  input.checked = checked;
  const tag = document.createElement("span");
  tag.className = "tag";
  tag.textContent = template.tag;
  label.append(input, template.tool, tag);
  return label;
}

export class DeleteDialog {
  #dialog = byId("delete-dialog");
  #studio = null;

  /** `deleted` gets the Studio that is gone. */
  constructor(deleted) {
    byId("delete-cancel").addEventListener("click", () => this.#dialog.close());
    byId("delete-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const studio = this.#studio;
      try {
        await api.remove(studio.sessionId);
        this.#dialog.close();
        deleted(studio);
      } catch (error) {
        byId("delete-problem").textContent = error.message;
      }
    });
  }

  open(studio) {
    this.#studio = studio;
    byId("delete-name").textContent = studio.name;
    byId("delete-problem").textContent = "";
    this.#dialog.showModal();
    byId("delete-cancel").focus();
  }
}
