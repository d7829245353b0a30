// One Studio in the list. A card is made once and then updated in place, so that focus, selection and
// screen readers stay where they are when something changes elsewhere.

import * as saved from "./saved-words.js";
import * as words from "./words.js";

const RESTING = new Set(["stopped", "errored", "buildFailed"]);
const BUSY = new Set(["building", "starting", "running"]);

const template = document.getElementById("card-template");

/** Fill `element`, one text at a time, only where it differs: an equal text is not announced again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make a list say these texts, an item each. */
function setItems(list, texts) {
  while (list.childElementCount > texts.length) list.lastElementChild.remove();
  while (list.childElementCount < texts.length) list.append(document.createElement("li"));
  texts.forEach((text, index) => setText(list.children[index], text));
}

export class Card {
  #parts;

  /** `actions` has start, stop, extend, remove, save and checkpoints, each taking the session's id. */
  constructor(studio, actions) {
    this.element = template.content.firstElementChild.cloneNode(true);
    const find = (name) => this.element.querySelector(`.${name}`);
    this.#parts = Object.fromEntries(
      ["name", "pill-text", "facts", "description", "message", "steps", "stop-advice", "warnings", "volume", "use", "saved", "age", "save", "checkpoints", "connect", "start", "extend", "stop", "delete"]
        .map((name) => [name, find(name)]),
    );
    this.element.dataset.id = studio.sessionId;
    const id = studio.sessionId;
    this.#button("start", () => actions.start(id));
    this.#button("stop", () => actions.stop(id));
    this.#button("extend", () => actions.extend(id));
    this.#button("delete", () => actions.remove(id));
    this.#button("save", () => actions.save(id));
    this.#button("checkpoints", () => actions.checkpoints(id));
    this.update(studio);
  }

  update(studio, now = Date.now()) {
    const parts = this.#parts;
    const { status } = studio.statusInfo;
    const may = new Set(studio.allowedActions);
    this.element.dataset.tone = words.tone(status);
    this.element.dataset.status = status;
    setText(parts.name, studio.name);
    parts.name.id = `name-${studio.sessionId}`;
    this.element.querySelector("article").setAttribute("aria-labelledby", parts.name.id);
    setText(parts["pill-text"], words.statusLabel(status));
    const facts = [studio.template.tool, studio.user.userName, studio.isPrivate ? "private" : ""];
    setText(parts.facts, facts.filter(Boolean).join(" · "));
    setText(parts.description, studio.description ?? "");
    this.#steps(status === "starting" || status === "stopping" ? studio.progress : []);
    const shown = parts.steps.childElementCount > 0 && status === "starting" ? "" : words.message(studio);
    setText(parts.message, shown);
    setText(parts.use, words.use(studio, now));
    setText(parts.volume, words.volume(studio));
    parts.volume.classList.toggle("full", Boolean(studio.volume?.full));
    const late = saved.lateness(studio, now);
    setItems(parts.warnings, status === "running" ? [...words.warnings(studio), ...(late ? [late] : [])] : []);
    setText(parts.age, saved.age(studio, now));
    parts.age.classList.toggle("late", late !== "");

    this.#show("connect", status === "running" && may.has("connect"), `Connect to ${studio.name}`);
    if (studio.studioUrl) parts.connect.href = studio.studioUrl;
    this.#show("start", RESTING.has(status) && may.has("start"), `Start ${studio.name}`);
    const force = words.mayForceStop(studio, now);
    setText(parts["stop-advice"], may.has("stop") ? saved.stopAdvice(studio, force) : "");
    this.#show("save", status === "running" && may.has("start"), `Save now: ${studio.name}`);
    this.#show("checkpoints", true, `Checkpoints of ${studio.name}`);
    parts.saved.hidden = !studio.checkpoint;
    setText(parts.stop, force ? "Force stop" : "Stop");
    this.#show("stop", (BUSY.has(status) || force) && may.has("stop"), `${force ? "Force stop" : "Stop"} ${studio.name}`);
    const ends = status === "running" && Boolean(studio.deadline);
    this.#show("extend", ends && may.has("extend"), `Extend ${studio.name}`);
    this.#show("delete", RESTING.has(status) && may.has("delete"), `Delete ${studio.name}`);
  }

  highlight() {
    this.element.classList.add("highlight");
    this.element.scrollIntoView({ block: "nearest" });
    const target = [this.#parts.start, this.#parts.connect].find((part) => !part.hidden);
    (target ?? this.#parts.name).focus({ focusVisible: true, preventScroll: true });
  }

  focusName() {
    this.#parts.name.focus();
  }

  #button(name, action) {
    const button = this.#parts[name];
    button.addEventListener("click", async () => {
      // Not `disabled`: that would drop the focus while the call is under way.
      if (button.ariaDisabled === "true") return;
      button.ariaDisabled = "true";
      try {
        await action();
      } finally {
        button.ariaDisabled = null;
        if (button.hidden && this.element.isConnected) this.#keepFocus();
      }
    });
  }

  #show(name, visible, label) {
    const part = this.#parts[name];
    const hadFocus = document.activeElement === part;
    part.hidden = !visible;
    part.ariaLabel = label;
    if (hadFocus && !visible) this.#keepFocus();
  }

  /** The focused button is gone: stay on this card instead of falling back to the page's top. */
  #keepFocus() {
    if (document.activeElement === document.body || document.activeElement?.hidden) this.focusName();
  }

  #steps(progress) {
    const list = this.#parts.steps;
    while (list.childElementCount > progress.length) list.lastElementChild.remove();
    progress.forEach((step, index) => {
      let item = list.children[index];
      if (!item) {
        item = document.createElement("li");
        const mark = document.createElement("span");
        mark.className = "mark";
        mark.ariaHidden = "true";
        const text = document.createElement("span");
        const state = document.createElement("span");
        state.className = "hidden";
        const warning = document.createElement("span");
        warning.className = "warning";
        item.append(mark, text, state, warning);
        list.append(item);
      }
      item.dataset.status = step.status;
      if (step.status === "in-progress") item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      setText(item.children[1], step.message);
      setText(item.children[2], ` (${step.status})`);
      setText(item.children[3], step.warnings.join(" "));
      item.children[3].hidden = step.warnings.length === 0;
    });
  }
}
