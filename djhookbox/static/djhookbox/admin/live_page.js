import { Poller } from "./poller.js";
import { ReportView } from "./report.js";

/** @import { Connection } from "../connection.js" */

/** Milliseconds without a report after which the channel is no longer relied on. */
const SILENCE = 10_000;
/** Milliseconds between requests for what reports do not contain: state, facts, rights. */
const SLOW = 60_000;

/**
 * Keeps the server page up to date: from the channel on which the Hookbox process reports or, if that
 * is not available, by polling the site every few seconds.
 *
 * Nothing happens while the tab is hidden or the user has paused the page, and no part is replaced
 * while one of its controls has the focus or is checked.
 */
export class LivePage {
  #document;
  #settings;
  #connect;
  #view;
  #poller;
  #hookbox = null;
  #silence = null;
  #paused = false;
  #ended = false;
  #mode = "";
  #state;
  #report = null;

  /**
   * @param {Document} document
   * @param {object} settings The settings that the template printed.
   * @param {() => Connection} connect
   */
  constructor(document, settings, connect) {
    this.#document = document;
    this.#settings = settings;
    this.#connect = connect;
    this.#view = new ReportView(document, settings);
    this.#poller = new Poller(settings.address + document.location.search, {
      onAnswer: (html) => this.#answered(html),
      onFailure: () => this.#enter("failing"),
      onEnd: () => this.#end(),
    });
  }

  /** Start; called once. */
  start() {
    this.#state = this.#part("state").dataset.state;
    this.#document.addEventListener("visibilitychange", () => this.#wake());
    // A page that the browser keeps in its back/forward cache must not hold a connection.
    this.#document.defaultView.addEventListener("pagehide", () => this.#rest());
    this.#document.defaultView.addEventListener("pageshow", (event) => event.persisted && this.#wake());
    for (const end of ["focusout", "change"]) {
      this.#live.addEventListener(end, () => setTimeout(() => this.#showReport()));
    }
    this.#pauseButton.hidden = false;
    this.#pauseButton.addEventListener("click", () => {
      this.#paused = !this.#paused;
      this.#pauseButton.textContent = this.#settings.texts[this.#paused ? "resume" : "pause"];
      this.#wake();
    });
    if (!this.#document.hidden) {
      this.#listen();
      this.#poller.start();
    }
  }

  get #live() {
    return this.#document.getElementById("hookbox-live");
  }

  get #pauseButton() {
    return this.#document.getElementById("hookbox-pause");
  }

  #part(name, within = this.#live) {
    return within.querySelector(`[data-live="${name}"]`);
  }

  // ---- starting and stopping ----------------------------------------------------------------

  /** Start or stop, depending on the tab and the button. */
  #wake() {
    if (this.#ended) {
      return;
    }
    if (this.#paused || this.#document.hidden) {
      this.#rest();
      if (this.#paused) {
        this.#enter("paused");
      }
    } else if (!this.#poller.running) {
      this.#listen();
      this.#poller.start(0);
    }
  }

  #rest() {
    clearTimeout(this.#silence);
    this.#poller.stop();
    this.#report = null;
    const hookbox = this.#hookbox;
    this.#hookbox = null; // first, so that its end does not count as a loss
    hookbox?.disconnect();
  }

  #end() {
    this.#ended = true;
    this.#rest();
    this.#pauseButton.hidden = true;
    this.#enter("ended");
  }

  // ---- the channel --------------------------------------------------------------------------

  #listen() {
    if (!this.#settings.channel) {
      return; // not for this user
    }
    const hookbox = this.#connect();
    this.#hookbox = hookbox;
    hookbox.on("disconnected", () => this.#lost());
    hookbox.on("error", () => {}); // the page notices that no reports arrive
    hookbox.on("refused", () => {});
    const subscription = hookbox.subscribe(this.#settings.channel);
    subscription.on("refused", () => hookbox.disconnect());
    subscription.on("unsubscribed", () => this.#lost());
    subscription.on("publish", ({ payload }) => this.#hookbox === hookbox && this.#reported(payload));
  }

  #lost() {
    if (this.#mode === "live" && this.#hookbox) {
      clearTimeout(this.#silence);
      this.#enter("polling");
      this.#poller.start(0);
    }
  }

  #reported(report) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE);
    const first = this.#mode !== "live";
    const restarted = this.#report !== null && report.pid !== this.#report.pid;
    this.#report = report;
    this.#enter("live");
    if (restarted || (first && this.#state !== "running")) {
      this.#poller.start(0); // for the pid and everything else that reports do not contain
    } else if (first) {
      this.#poller.start(this.#pace());
    }
    this.#showReport();
  }

  #showReport() {
    const report = this.#report;
    if (!report) {
      return;
    }
    const counts = this.#part("counts");
    if (counts) {
      this.#view.showCounts(counts, report);
    }
    // Reports list only the first items, in the usual order.
    const channels = this.#searched("channel") ? null : this.#part("channels");
    if (channels && !this.#isInUse(channels)) {
      this.#view.showChannels(channels, report.channel_list);
    }
    const connections = this.#searched("user") ? null : this.#part("connections");
    if (connections && !this.#isInUse(connections)) {
      this.#view.showConnections(connections, report.connection_list);
    }
    this.#updated();
  }

  // ---- polling ------------------------------------------------------------------------------

  #answered(html) {
    if (this.#mode === "live") {
      this.#poller.start(this.#pace());
    } else {
      this.#enter("polling");
    }
    if (html !== null) {
      this.#replace(html);
    }
    this.#updated();
  }

  /** How often to poll while reports arrive, which may not contain the search results. */
  #pace() {
    return this.#searched("channel") || this.#searched("user") ? undefined : SLOW;
  }

  #searched(name) {
    const query = new URL(this.#document.location.href).searchParams;
    return ["", "_sort", "_page"].some((end) => query.get(name + end));
  }

  #replace(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    const names = (root) =>
      [...root.querySelectorAll("[data-live]")].map((part) => part.dataset.live).join();
    const same = names(fresh) === names(this.#live);
    if (!same && !this.#hasFocus(this.#live)) {
      this.#live.replaceChildren(...fresh.childNodes);
    } else if (same) {
      for (const part of fresh.querySelectorAll("[data-live]")) {
        const old = this.#part(part.dataset.live);
        if (!this.#isInUse(old)) {
          old.replaceWith(this.#document.adoptNode(part));
        }
      }
    }
    const part = this.#part("state");
    if (part.dataset.state !== this.#state) {
      this.#state = part.dataset.state;
      this.#announce();
      if (this.#state === "running") {
        this.#hookbox?.connect(); // immediately, instead of after its delay
      }
    }
  }

  #isInUse(part) {
    return this.#hasFocus(part) || part.querySelector(":checked") !== null;
  }

  #hasFocus(part) {
    const active = this.#document.activeElement;
    return active !== null && part.contains(active);
  }

  // ---- messages -----------------------------------------------------------------------------

  #enter(mode) {
    if (mode !== this.#mode) {
      this.#mode = mode;
      this.#announce();
    }
  }

  #announce() {
    const badge = this.#part("state").querySelector(".hookbox-state").cloneNode(true);
    badge.querySelector("[aria-hidden]")?.remove(); // the shape next to the word
    const text = `${badge.textContent.trim()}. ${this.#settings.texts[this.#mode] ?? ""}`;
    this.#document.getElementById("hookbox-announcement").textContent = text;
  }

  #updated() {
    const clock = this.#view.clock(Date.now() / 1000);
    const element = this.#document.getElementById("hookbox-updated");
    element.textContent = this.#settings.texts.updated.replace("{clock}", clock);
  }
}
