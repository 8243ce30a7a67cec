/**
 * The position of a page in a channel's stream.
 *
 * A channel with a stream numbers its publications within an epoch: 1, 2, 3… The client sends what
 * the page has received as a cursor, and the server's snapshot contains everything after it. This
 * class decides what reaches the page: each publication once and in order, and a gap for what is no
 * longer available. See "Resume" in docs/protocol.rst.
 */
export class Position {
  /**
   * Whether a snapshot that continues from here has been requested. It will contain everything
   * published until then, so publications are held back.
   */
  awaited = false;

  /** @type {string | null} */
  #epoch = null;
  #offset = 0;
  /** Whether the page has been subscribed, with or without numbers. */
  #begun = false;

  /** The value of `since`; undefined if nothing has been numbered. */
  get cursor() {
    return this.#epoch === null ? undefined : `${this.#epoch}:${this.#offset}`;
  }

  /**
   * Start at a cursor from elsewhere; "" means that there is none.
   *
   * @param {string} cursor
   */
  set cursor(cursor) {
    const colon = cursor.lastIndexOf(":");
    this.#epoch = colon < 0 ? null : cursor.slice(0, colon);
    this.#offset = Number(cursor.slice(colon + 1));
  }

  /** Start again, after the page has left the channel. */
  forget() {
    this.#epoch = null;
    this.awaited = this.#begun = false;
  }

  /**
   * Handle a live publication.
   *
   * @param {{ epoch?: string, offset?: number }} args
   * @returns {"emit" | "drop" | "hole"} `hole`: earlier publications are missing and must be
   *   requested.
   */
  live(args) {
    const { offset } = args;
    if (offset === undefined) {
      return "emit"; // without a number, no snapshot will repeat it
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
   * Note that a publication of a snapshot is passed to the page.
   *
   * @param {number} offset
   */
  reach(offset) {
    this.#offset = offset;
  }

  /**
   * Note that the server accepted a publication of this page, which the page may not receive.
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
   * Handle the numbers of a snapshot.
   *
   * @param {Record<string, any>} args
   * @param {boolean} interrupted Whether publications may have been missed.
   * @returns {{ missed: number | null, messages: any[], hole?: boolean }} How many publications
   *   are lost, or null if unknown; the publications to pass to the page, calling `reach()` for each;
   *   and whether to request more, because the snapshot continues from another position.
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
      // The cursor was sent earlier; publications may have arrived since then.
      missed = Math.max(0, offset - this.#offset - messages.length);
    }
    this.#epoch = epoch;
    // Only what was passed to the page counts as received: a listener may end the subscription.
    this.#offset = messages.length > 0 ? messages[0].offset - 1 : offset;
    this.awaited = false;
    this.#begun = true;
    return { missed: lost ? null : missed, messages };
  }

  /**
   * Start an epoch: only its first publication has `epoch`.
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
