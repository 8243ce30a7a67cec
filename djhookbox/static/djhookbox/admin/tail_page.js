import { Poller } from "./poller.js";

/** Milliseconds between requests. */
const INTERVAL = 2000;

/**
 * Keeps the latest messages on the page of a channel up to date.
 *
 * Nothing happens while the tab is hidden or the user has paused the page, and the messages are not
 * replaced while one of their links has the focus or a part of them is selected.
 */
export class TailPage {
  #document;
  #settings;
  #poller;
  #paused = false;
  #ended = false;

  /**
   * @param {Document} document
   * @param {object} settings The settings that the template printed.
   * @param {object} [environment] As for `Poller`.
   */
  constructor(document, settings, environment = globalThis) {
    this.#document = document;
    this.#settings = settings;
    const listeners = {
      onAnswer: (html) => this.#answered(html),
      onFailure: () => this.#say("failing"),
      onEnd: () => this.#end(),
    };
    this.#poller = new Poller(settings.address, listeners, environment, INTERVAL);
  }

  /** Start; called once. */
  start() {
    this.#document.addEventListener("visibilitychange", () => this.#wake());
    this.#document.defaultView.addEventListener("pagehide", () => this.#poller.stop());
    this.#document.defaultView.addEventListener("pageshow", () => this.#wake());
    const button = this.#button;
    button.hidden = false;
    button.addEventListener("click", () => {
      this.#paused = !this.#paused;
      button.textContent = this.#settings.texts[this.#paused ? "resume" : "pause"];
      this.#wake();
    });
    this.#wake();
  }

  get #button() {
    return this.#document.getElementById("hookbox-tail-pause");
  }

  get #list() {
    return this.#document.getElementById("hookbox-tail");
  }

  /** Start or stop, depending on the tab and the button. */
  #wake() {
    if (this.#ended) {
      return;
    }
    if (this.#paused || this.#document.hidden) {
      this.#poller.stop();
      if (this.#paused) {
        this.#say("paused");
      }
    } else if (!this.#poller.running) {
      this.#poller.start(0);
    }
  }

  #end() {
    this.#ended = true;
    this.#button.hidden = true;
    this.#say("ended");
  }

  #answered(html) {
    this.#say("live");
    if (html !== null && !this.#isInUse()) {
      const fresh = new DOMParser().parseFromString(html, "text/html").body;
      this.#list.replaceChildren(...fresh.childNodes);
    } else if (html !== null) {
      this.#poller.forget(); // ask for it again when the list is free
    }
  }

  #isInUse() {
    const list = this.#list;
    const selection = this.#document.getSelection();
    const selects = selection && !selection.isCollapsed && list.contains(selection.anchorNode);
    const active = this.#document.activeElement;
    return selects || (active !== list && list.contains(active));
  }

  #say(mode) {
    const status = this.#document.getElementById("hookbox-tail-status");
    const text = this.#settings.texts[mode];
    if (status.textContent !== text) {
      status.textContent = text; // only then, so that it is announced once
    }
  }
}
