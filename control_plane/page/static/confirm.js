// One question before something that can't be undone. <dialog> brings the focus trap and Escape.

const byId = (id) => document.getElementById(id);

export class ConfirmDialog {
  #dialog = byId("confirm-dialog");
  #action = null;
  #busy = false;

  constructor() {
    byId("confirm-cancel").addEventListener("click", () => this.#dialog.close());
    byId("confirm-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.#busy) return;
      this.#busy = true;
      byId("confirm-problem").textContent = "";
      try {
        await this.#action();
        this.#dialog.close();
      } catch (error) {
        byId("confirm-problem").textContent = error.message;
      } finally {
        this.#busy = false;
      }
    });
  }

  /** `action` is carried out if the person says yes; what it throws is shown, and asked again. */
  ask({ title, text, yes, no, action }) {
    this.#action = action;
    byId("confirm-title").textContent = title;
    byId("confirm-text").textContent = text;
    byId("confirm-problem").textContent = "";
    byId("confirm-yes").textContent = yes;
    byId("confirm-cancel").textContent = no;
    this.#dialog.showModal();
    byId("confirm-cancel").focus();
  }
}
