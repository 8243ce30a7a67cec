/**
 * Where a page stands among a channel's numbered publications.
 *
 * A channel with history numbers what is published within an epoch: 1, 2, 3… What the page has
 * seen is told to the server as a cursor, and the server's snapshot then has what came after it.
 * Here it is decided what of all this reaches the page: each publication once, in order, and what
 * cannot be had any more as a gap that is told. See "Resume" in docs/protocol.rst.
 */
export class Position {
  /**
   * Whether a snapshot that continues from here is on its way. It will contain what is published
   * until then, so that publications are held back.
   */
  awaited = false;

  /** @type {string | null} */
  #epoch = null;
  #offset = 0;
  /** Whether the page has been in the channel, numbered or not. */
  #begun = false;

  /** What to send as `since`; undefined as long as nothing is numbered. */
  get cursor() {
    return this.#epoch === null ? undefined : `${this.#epoch}:${this.#offset}`;
  }

  /**
   * Begin at a cursor that came from elsewhere; "" is none.
   *
   * @param {string} cursor
   */
  set cursor(cursor) {
    const colon = cursor.lastIndexOf(":");
    this.#epoch = colon < 0 ? null : cursor.slice(0, colon);
    this.#offset = Number(cursor.slice(colon + 1));
  }

  /** Begin anew: the page has left the channel. */
  forget() {
    this.#epoch = null;
    this.awaited = this.#begun = false;
  }

  /**
   * Take in a live publication.
   *
   * @param {{ epoch?: string, offset?: number }} args
   * @returns {"emit" | "drop" | "hole"} `hole`: something before it is missing, ask for it.
   */
  live(args) {
    const { offset } = args;
    if (offset === undefined) {
      return "emit"; // it is not numbered, so no snapshot will repeat it
    }
    if (this.awaited) {
      return "drop";
    }
    this.#enter(args);
    if (this.#epoch === null) {
      return "emit";
    }
    if (offset <= this.#offset) {
      return "drop";
    }
    if (offset > this.#offset + 1) {
      return "hole";
    }
    this.#offset = offset;
    return "emit";
  }

  /**
   * One of a snapshot's publications is handed to the page.
   *
   * @param {number} offset
   */
  reach(offset) {
    this.#offset = offset;
  }

  /**
   * The page's own publication was taken; it may not come back to the page.
   *
   * @param {{ epoch?: string, offset?: number }} args
   */
  published(args) {
    if (!this.awaited) {
      this.#enter(args);
      if (args.offset === this.#offset + 1) {
        this.#offset = args.offset;
      }
    }
  }

  /**
   * Take in a snapshot's numbers.
   *
   * @param {Record<string, any>} args
   * @param {boolean} interrupted Whether something may have been published unheard.
   * @returns {{ missed: number | null, messages: any[], hole?: boolean }} How many publications
   *   are lost, null if that cannot be known; those to hand to the page, each of which is to be
   *   reached; and whether to ask for more, because the snapshot continues from somewhere else.
   */
  snapshot({ epoch = null, offset = 0, recovered, missed = 0 }, interrupted) {
    const same = epoch === this.#epoch;
    const elsewhere = this.#epoch !== null && epoch !== null && !(same && offset === this.#offset);
    if (!recovered && elsewhere) {
      return { missed: 0, messages: [], hole: true };
    }
    const unknown = epoch === null && !recovered;
    const lost = unknown && (this.#epoch !== null || (this.#begun && interrupted));
    const messages = (recovered ?? []).filter((one) => !same || one.offset > this.#offset);
    if (same && missed) {
      // The cursor was asked with earlier; some may have come since then.
      missed = Math.max(0, offset - this.#offset - messages.length);
    }
    this.#epoch = epoch;
    // What is not handed over yet is not seen: a listener may end it all.
    this.#offset = messages.length > 0 ? messages[0].offset - 1 : offset;
    this.awaited = false;
    this.#begun = true;
    return { missed: lost ? null : missed, messages };
  }

  /**
   * A publication that has an `epoch` is its first.
   *
   * @param {{ epoch?: string, offset?: number }} args
   */
  #enter({ epoch, offset }) {
    if (epoch !== undefined && epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#offset = offset - 1;
    }
  }
}
