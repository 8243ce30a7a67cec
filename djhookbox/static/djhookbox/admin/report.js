/**
 * Renders a report of the Hookbox process into the page, in the same way as Django's templates
 * (`admin/server/report.py`, `templatetags/djhookbox_admin.py`).
 */

/** Rows of a list, as in `wire/rest.py`. */
const PAGE = 20;
const WIDTH = 120;
const HEIGHT = 24;
const POINTS = 60;

/** Return how many connections all processes have. */
export function allConnections({ nodes = [], connections }) {
  const counted = nodes.filter((node) => node.alive !== false);
  return nodes.length < 2
    ? connections
    : counted.reduce((sum, node) => sum + (node.connections ?? 0), 0);
}

export class ReportView {
  #document;
  #settings;
  #clocks;

  /**
   * @param {Document} document
   * @param {object} settings The settings that the template printed.
   */
  constructor(document, settings) {
    this.#document = document;
    this.#settings = settings;
    this.#clocks = clocks(settings.timeZone);
  }

  /**
   * Show the figures.
   *
   * @param {Element} part The element that contains them.
   * @param {object} report
   */
  showCounts(part, report) {
    const p95 = report.webhooks?.p95_ms;
    const values = {
      connections: this.whole(allConnections(report)),
      users: this.whole(report.users),
      channels: this.whole(report.channels),
      in: this.rate(report.messages_in_per_second),
      out: this.rate(report.messages_out_per_second),
      p95: typeof p95 === "number" ? fill(this.#settings.texts.ms, { time: this.whole(p95) }) : "",
      failed: this.whole(report.webhooks?.failed),
    };
    for (const element of part.querySelectorAll("[data-count]")) {
      const value = values[element.dataset.count];
      if (value) {
        element.textContent = value;
      }
      const drawing = element.parentElement.querySelector("svg");
      if (drawing) {
        this.#draw(drawing, report.rates?.[element.dataset.count] ?? []);
      }
    }
  }

  /** Show the live channels. */
  showChannels(part, list) {
    const rows = list.listed.map((channel) =>
      this.#row("hookbox-channel-row", {
        fields: {
          name: channel.name,
          subscribers: this.whole(channel.subscribers),
          history: this.whole(channel.history),
          rate: this.rate(channel.rate),
          since: typeof channel.since === "number" ? this.clock(channel.since) : "",
        },
        links: { name: { name: channel.name } },
        ticks: channel.name,
        since: channel.since ?? undefined,
      }),
    );
    this.#fillTable(part, rows, list.total);
  }

  /** Show the open connections. */
  showConnections(part, list) {
    const rows = list.listed.map((connection) =>
      this.#row("hookbox-connection-row", {
        fields: {
          user: connection.user,
          transport: this.#settings.transports[connection.transport] ?? connection.transport,
          since: this.clock(connection.since),
          channels: this.whole(connection.channels),
          unsent: connection.unsent ? this.whole(connection.unsent) : "",
        },
        links: {
          user: { name: connection.user },
          disconnect: { user: connection.user, connection: connection.id },
        },
        since: connection.since,
      }),
    );
    this.#fillTable(part, rows, list.total);
  }

  // ---- formatting ---------------------------------------------------------------------------

  /** Format a count; "" if it is missing. */
  whole(value) {
    return typeof value === "number" ? this.#grouped(String(Math.round(value))) : "";
  }

  /** Format a rate per second; "" if it is not a number. */
  rate(value) {
    if (typeof value !== "number") {
      return "";
    }
    const [whole, fraction] = value.toFixed(1).split(".");
    return this.#grouped(whole) + this.#settings.decimal + fraction;
  }

  /** Format a moment: the time, with the date if it is not today. */
  clock(seconds, now = Date.now()) {
    const [day, time] = this.#clocks(seconds * 1000);
    return day === this.#clocks(now)[0] ? time : `${day} ${time.slice(0, 5)}`;
  }

  #grouped(digits) {
    return digits.replace(/\B(?=(\d{3})+$)/g, this.#settings.group);
  }

  // ---- parts --------------------------------------------------------------------------------

  #row(template, { fields, links, since, ticks }) {
    const row = this.#document.getElementById(template).content.firstElementChild.cloneNode(true);
    for (const [name, value] of Object.entries(fields)) {
      row.querySelector(`[data-field="${name}"]`).textContent = value;
    }
    for (const [name, query] of Object.entries(links)) {
      const link = row.querySelector(`[data-link="${name}"]`);
      if (link) {
        const page = link.getAttribute("href").split("?")[0];
        link.setAttribute("href", `${page}?${new URLSearchParams(query)}`);
      }
    }
    const box = row.querySelector("input[type=checkbox]");
    if (box) {
      box.value = ticks;
    }
    if (since !== undefined) {
      row.querySelector("time").setAttribute("datetime", new Date(since * 1000).toISOString());
    }
    return row;
  }

  #fillTable(part, rows, total) {
    part.querySelector("tbody").replaceChildren(...rows);
    part.querySelector(".hookbox-none").hidden = rows.length > 0;
    // The links to other parts remain those of the page as it was loaded.
    const pages = part.querySelector("[data-pages]");
    pages.textContent = fill(pages.dataset.pages, {
      page: 1,
      pages: this.whole(Math.max(1, Math.ceil(total / PAGE))),
      total: this.whole(total),
    });
  }

  #draw(drawing, series) {
    drawing.querySelector("polyline").setAttribute("points", points(series));
    const words = { least: "-", most: "-", now: "-" };
    if (series.length) {
      words.least = this.rate(Math.min(...series));
      words.most = this.rate(Math.max(...series));
      words.now = this.rate(series.at(-1));
    }
    drawing.setAttribute("aria-label", fill(drawing.dataset.label, words));
  }
}

/** Return the points of a line: the newest value on the right, the highest at the top. */
export function points(series) {
  const most = Math.max(0, ...series) || 1;
  const step = WIDTH / (POINTS - 1);
  const first = WIDTH - step * (series.length - 1);
  return series
    .map((value, index) => {
      const y = HEIGHT - 1 - ((HEIGHT - 2) * value) / most;
      return `${(first + step * index).toFixed(1)},${y.toFixed(1)}`;
    })
    .join(" ");
}

/** Replace the placeholders in braces with values. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** Return a function that splits a moment into date and time in the site's time zone. */
function clocks(timeZone) {
  const options = { dateStyle: "short", timeStyle: "medium" }; // Swedish uses the format of ISO 8601
  let format;
  try {
    format = new Intl.DateTimeFormat("sv-SE", { ...options, timeZone });
  } catch {
    format = new Intl.DateTimeFormat("sv-SE", options); // the browser does not know the time zone
  }
  return (milliseconds) => format.format(milliseconds).split(" ");
}
