// The files of one checkpoint: folder by folder, and one file back.

import * as api from "./api.js";
import { moment, size } from "./saved-words.js";

const KINDS = {
  "symbolic-link": "link",
  fifo: "pipe",
  "character-device": "device",
  "block-device": "device",
  socket: "socket",
  deletion: "deleted",
};

const byId = (id) => document.getElementById(id);
const template = document.getElementById("file-template");

export class FilesDialog {
  #dialog = byId("files-dialog");
  #studio = null;
  #checkpoint = null;
  #path = ""; // percent-encoded, as the API gives and takes it: names need not be text
  #next = null;
  #asked = 0;

  constructor() {
    byId("files-close").addEventListener("click", () => this.#dialog.close());
    byId("files-more").addEventListener("click", () => this.#read({ more: true }));
  }

  open(studio, checkpoint) {
    this.#studio = studio;
    this.#checkpoint = checkpoint;
    byId("files-checkpoint").textContent = checkpoint.name;
    this.#dialog.showModal();
    this.#go("");
  }

  async #go(path) {
    this.#path = path;
    byId("files-rows").replaceChildren();
    byId("files-more").hidden = true;
    byId("files-empty").hidden = true;
    this.#crumbs();
    await this.#read({ more: false });
  }

  async #read({ more }) {
    const asked = ++this.#asked;
    const rows = byId("files-rows");
    this.#say("");
    byId("files-table").ariaBusy = "true";
    try {
      const { sessionId } = this.#studio;
      const found = await api.files(sessionId, this.#checkpoint.id, this.#path, more ? this.#next : "");
      if (asked !== this.#asked) return;
      const added = found.files.map((file) => this.#row(file));
      rows.append(...added);
      this.#next = found.next;
      byId("files-more").hidden = found.next === null;
      byId("files-empty").hidden = rows.childElementCount > 0;
      byId("files-as-of").textContent = `As of ${moment(found.savedAt)}: what sessions changed. The rest is the image’s.`;
      if (more) added[0]?.querySelector("button")?.focus();
    } catch (error) {
      if (asked === this.#asked) this.#say(error.message);
    } finally {
      if (asked === this.#asked) byId("files-table").ariaBusy = "false";
    }
  }

  #row(file) {
    const row = template.content.firstElementChild.cloneNode(true);
    const [name, bytes, time] = ["file-name", "file-size", "file-time"].map((part) => row.querySelector(`.${part}`));
    row.dataset.kind = file.kind;
    time.textContent = file.modified ? moment(file.modified) : "";
    if (file.kind === "folder" || file.kind === "file") {
      const button = document.createElement("button");
      button.className = "link";
      button.textContent = file.name;
      const isFolder = file.kind === "folder";
      bytes.textContent = isFolder ? "folder" : size(file.size);
      button.ariaLabel = isFolder ? `Open folder ${file.name}` : `Download ${file.name}`;
      button.addEventListener("click", () => (isFolder ? this.#go(file.path) : this.#download(file)));
      name.append(button);
    } else {
      name.textContent = file.target ? `${file.name} → ${file.target}` : file.name;
      bytes.textContent = KINDS[file.kind] ?? file.kind;
    }
    return row;
  }

  /** Ask first, so that what is wrong is said here, and not by the browser's list of downloads. */
  async #download(file) {
    const address = api.fileAddress(this.#studio.sessionId, this.#checkpoint.id, file.path);
    this.#say(`Getting ${file.name}…`);
    try {
      await api.checkFile(address);
    } catch (error) {
      this.#say(error.message);
      return;
    }
    const link = document.createElement("a");
    link.href = address;
    link.download = "";
    link.click();
    this.#say(`${file.name} is being downloaded.`);
  }

  #crumbs() {
    const parts = this.#path.split("/").filter(Boolean);
    const items = ["", ...parts].map((part, index) => {
      const item = document.createElement("li");
      const isHere = index === parts.length;
      const text = index === 0 ? "/" : readable(part);
      const element = document.createElement(isHere ? "span" : "button");
      element.textContent = text;
      if (isHere) {
        element.ariaCurrent = "location";
        element.tabIndex = -1;
      } else {
        element.className = "link";
        const path = parts.slice(0, index).join("/");
        element.ariaLabel = index === 0 ? "Open the top folder" : `Open folder ${text}`;
        element.addEventListener("click", () => this.#go(path));
      }
      item.append(element);
      return item;
    });
    byId("files-crumbs").replaceChildren(...items);
    items.at(-1).firstElementChild.focus();
  }

  #say(text) {
    byId("files-status").textContent = text;
  }
}

function readable(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not UTF-8
  }
}
