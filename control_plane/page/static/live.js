// The list of Studios as the server has it, kept up to date by its event stream.
//
// The stream tells changes only, so the whole list is read whenever the stream (re)opens or says
// `resync`. Changes that arrive while the list is being read are newer than it: they are applied on
// top of it, again.

import * as api from "./api.js";

const RETRY_MILLISECONDS = 3000;

export class LiveStudios extends EventTarget {
  #studios = new Map();
  #whileReading = null;
  #source = null;

  /** Every Studio, newest first. */
  get all() {
    return [...this.#studios.values()].sort((a, b) => b.dateCreated.localeCompare(a.dateCreated));
  }

  get(id) {
    return this.#studios.get(id);
  }

  /** Take over what a call answered, without waiting for its event. */
  put(studio) {
    this.#apply({ put: studio });
  }

  drop(id) {
    this.#apply({ drop: id });
  }

  open() {
    this.#state("connecting");
    const source = new EventSource("/api/events");
    this.#source = source;
    source.addEventListener("open", () => this.#read());
    source.addEventListener("resync", () => this.#read());
    source.addEventListener("studio", (event) => this.#apply({ put: JSON.parse(event.data) }));
    source.addEventListener("removed", (event) => this.#apply({ drop: JSON.parse(event.data).sessionId }));
    source.addEventListener("error", () => this.#failed(source));
  }

  async #failed(source) {
    this.#state("lost");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    // Closed for good: refused. Either we are logged out, which this call notices, or it's a proxy.
    await api.me().catch(() => null);
    setTimeout(() => source === this.#source && this.open(), RETRY_MILLISECONDS);
  }

  async #read() {
    if (this.#whileReading !== null) {
      this.#whileReading.again = true;
      return;
    }
    const reading = { changes: [], again: false };
    this.#whileReading = reading;
    try {
      const studios = await api.list();
      this.#studios = new Map(studios.map((studio) => [studio.sessionId, studio]));
      reading.changes.forEach((change) => this.#write(change));
      this.#state("live");
      this.dispatchEvent(new Event("list"));
    } catch (error) {
      this.#state("lost");
      this.dispatchEvent(new CustomEvent("problem", { detail: error.message }));
    } finally {
      this.#whileReading = null;
    }
    if (reading.again) this.#read();
  }

  #apply(change) {
    this.#whileReading?.changes.push(change);
    const before = this.#studios.get(change.put?.sessionId ?? change.drop);
    this.#write(change);
    this.dispatchEvent(new CustomEvent("change", { detail: { before, after: change.put } }));
  }

  #write({ put, drop }) {
    if (put) this.#studios.set(put.sessionId, put);
    else this.#studios.delete(drop);
  }

  #state(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
