/**
 * The element of `{% hookbox_refresh %}`. It keeps another element up to date: when a message says
 * that something has changed, that element gets the event `hookbox:refresh`, and htmx fetches it
 * again, or a fragment published by `publish_template()` is inserted.
 *
 *     <hookbox-refresh channel="/tasks/" target="#tasks" hidden></hookbox-refresh>
 *     <ul id="tasks" hx-get="/tasks/" hx-trigger="hookbox:refresh"></ul>
 *
 * Attributes: `channel`; `target`, a selector, by default the element after this one; `spread`, over
 * how many seconds pages spread their requests; `swap`, how htmx inserts fragments.
 */

import { connect } from "./hookbox.min.js";

const DEFAULT_SPREAD = 0.5;

/** Seconds before a failed request is repeated for the first time, and at most before further ones. */
const RETRY = 2;
const LONGEST_RETRY = 60;

class HookboxRefresh extends HTMLElement {
  #gone = new AbortController();
  #timer;
  /** Whether a request will be made. */
  #due = false;
  /** The request that htmx is making for the target. */
  #request;
  /** How many requests have failed since one succeeded. */
  #failed = 0;

  /** The element to keep up to date. It may be another one after each request. */
  get target() {
    const selector = this.getAttribute("target");
    return selector ? document.querySelector(selector) : this.nextElementSibling;
  }

  connectedCallback() {
    this.#gone = new AbortController();
    const { signal } = this.#gone;
    // Bubbling events: htmx dispatches the second one elsewhere if the target was replaced.
    document.addEventListener("htmx:beforeRequest", ({ target, detail }) => {
      if (target === this.target) {
        this.#request = detail.xhr;
      }
    }, { signal });
    document.addEventListener("htmx:afterRequest", ({ detail }) => {
      if (detail.xhr === this.#request) {
        this.#request = undefined;
        this.#answered(detail.xhr.status);
      }
    }, { signal });
    const channel = connect().subscribe(this.getAttribute("channel"), { signal });
    channel.on("publish", (message) => this.#published(message), { signal });
    channel.on("gap", () => this.#refresh(), { signal });
    // Something may have been published after the page was rendered, unless a cursor or the history
    // says what. A tag that came with its own target must not fetch it again and again.
    let first = true;
    channel.on("subscribed", () => {
      if (!channel.recovered && !(first && this.target?.contains(this))) {
        this.#refresh();
      }
      first = false;
    }, { signal });
    if (channel.status === "subscribed" && !this.target?.contains(this)) {
      this.#refresh(); // other parts of the page were subscribed when this one was rendered
    }
  }

  disconnectedCallback() {
    this.#gone.abort();
    clearTimeout(this.#timer);
    this.#due = false;
    this.#request = undefined;
    this.#failed = 0;
  }

  #published({ payload, user }) {
    const style = this.getAttribute("swap");
    const { target } = this;
    // Only the site's code publishes without a name. On anonymous channels `user` is undefined, so
    // that the HTML could be a visitor's: it is never inserted, and the site is asked instead.
    const fromSite = user === null || user === "";
    const usable = fromSite && typeof payload?.html === "string" && target && globalThis.htmx;
    // The answer to a request may already contain the fragment, or not yet: ask once more.
    if (style && usable && !this.#due && !this.#request) {
      globalThis.htmx.swap(target, payload.html, { swapStyle: style });
    } else {
      this.#refresh();
    }
  }

  /** Repeat a request that the site did not answer; a refusal, such as 403, would be the same. */
  #answered(status) {
    if (status === 0 || status >= 500) {
      const pause = Math.min(RETRY * 2 ** this.#failed, LONGEST_RETRY);
      this.#failed += 1;
      this.#refresh(pause);
    } else {
      this.#failed = 0;
    }
  }

  /**
   * Make one request for all messages of a moment; pages do not make theirs at the same time.
   *
   * @param {number} [pause] Seconds to wait in addition, at least half of them.
   */
  #refresh(pause = 0) {
    if (!this.#due) {
      this.#due = true;
      const spread = Number(this.getAttribute("spread") ?? DEFAULT_SPREAD);
      const seconds = pause / 2 + Math.random() * (spread + pause / 2);
      this.#timer = setTimeout(() => this.#fetch(), seconds * 1000);
    }
  }

  #fetch() {
    if (document.hidden) {
      // Once somebody looks at the page: a tab in the background makes one request for all.
      const options = { once: true, signal: this.#gone.signal };
      document.addEventListener("visibilitychange", () => this.#fetch(), options);
      return;
    }
    this.#due = false;
    const { target } = this;
    if (target) {
      // htmx delays a request until the previous one of the element has ended.
      target.dispatchEvent(new CustomEvent("hookbox:refresh"));
    } else {
      const where = this.getAttribute("target") ?? "(the next element)";
      console.error(`djhookbox: hookbox_refresh did not find its target, ${where}, in the page.`);
    }
  }
}

customElements.get("hookbox-refresh") ?? customElements.define("hookbox-refresh", HookboxRefresh);
