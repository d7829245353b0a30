// One checkpoint in the list, made once and then updated in place, as cards are.

import * as words from "./saved-words.js";

const template = document.getElementById("checkpoint-template");

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class CheckpointRow {
  #parts;
  #checkpoint = null;
  #renaming = false;
  #busy = false;

  /** `actions` has rename (which throws what is wrong with a name), browse, startAsNew and remove. */
  constructor(actions) {
    this.element = template.content.firstElementChild.cloneNode(true);
    const names = ["name", "latest", "state", "facts", "note", "rename-form", "rename-name", "rename-problem", "row-buttons", "rename", "browse", "start-as-new", "remove"];
    this.#parts = Object.fromEntries(names.map((name) => [name, this.element.querySelector(`.${name}`)]));
    const parts = this.#parts;
    parts.rename.addEventListener("click", () => this.#openRename());
    parts.browse.addEventListener("click", () => actions.browse(this.#checkpoint));
    parts["start-as-new"].addEventListener("click", () => actions.startAsNew(this.#checkpoint));
    parts.remove.addEventListener("click", () => actions.remove(this.#checkpoint));
    this.element.querySelector(".rename-cancel").addEventListener("click", () => this.#closeRename());
    parts["rename-form"].addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // it closes the name's field, not the dialog around it
      event.stopPropagation();
      this.#closeRename();
    });
    parts["rename-form"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(actions.rename);
    });
  }

  update(checkpoint, studio, isLatest, now = Date.now()) {
    this.#checkpoint = checkpoint;
    const parts = this.#parts;
    const may = new Set(studio.allowedActions);
    const { name } = checkpoint;
    this.element.dataset.id = checkpoint.id;
    this.element.dataset.status = checkpoint.status;
    parts.name.id = `checkpoint-${checkpoint.id}`;
    this.element.setAttribute("aria-labelledby", parts.name.id);
    setText(parts.name, name);
    parts.latest.hidden = !isLatest;
    setText(parts.state, words.state(checkpoint, studio));
    setText(parts.facts, words.facts(checkpoint, now));
    setText(parts.note, checkpoint.message);
    const isWritten = words.isWritten(checkpoint, studio);
    const holds = words.holdsSomething(checkpoint);
    this.#show("rename", may.has("edit"), `Rename ${name}`);
    this.#show("browse", holds && may.has("connect"), `Browse files of ${name}`);
    this.#show("start-as-new", holds && !isWritten && may.has("connect"), `Start as new: ${name}`);
    this.#show("remove", !isWritten && may.has("delete"), `Delete ${name}`);
  }

  focusName() {
    this.#parts.name.focus();
  }

  #show(name, visible, label) {
    const part = this.#parts[name];
    const hadFocus = document.activeElement === part;
    part.hidden = !visible;
    part.ariaLabel = label;
    if (hadFocus && !visible) this.focusName();
  }

  #openRename() {
    this.#setRenaming(true);
    const field = this.#parts["rename-name"];
    field.value = this.#checkpoint.name;
    field.ariaLabel = `New name of ${this.#checkpoint.name}`;
    this.#problem("");
    field.focus();
    field.select();
  }

  #closeRename() {
    if (!this.#renaming) return;
    this.#setRenaming(false);
    this.#parts.rename.focus();
  }

  #setRenaming(renaming) {
    this.#renaming = renaming;
    this.#parts["rename-form"].hidden = !renaming;
    this.#parts.name.hidden = renaming;
    this.#parts["row-buttons"].hidden = renaming;
  }

  async #submit(rename) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      await rename(this.#checkpoint, this.#parts["rename-name"].value);
      this.#closeRename();
    } catch (error) {
      this.#problem(error.message);
      this.#parts["rename-name"].focus();
    } finally {
      this.#busy = false;
    }
  }

  #problem(text) {
    this.#parts["rename-problem"].textContent = text;
    this.#parts["rename-name"].setAttribute("aria-invalid", String(text !== ""));
  }
}
