import { HANDED_ON } from "./close_codes.js";
import { encodeFrame, FrameDecoder } from "./rtjp.js";

/**
 * @import { HookboxError } from "./errors.js"
 * @import { Link } from "./link.js"
 * @import { OpenLink } from "./route.js"
 */

/** A cursor of no channel: it makes the server send a snapshot even if already subscribed. */
const NOWHERE = "-:0";

/**
 * A tab that shares the connection.
 *
 * @typedef {object} Tab
 * @property {(message: { text?: string, closed?: [number, string] }) => void} post
 * @property {FrameDecoder} decoder
 * @property {number} connectId The id of its CONNECT; 0 before that.
 * @property {string | undefined} expected The user that the tab expects: the server must confirm
 *   this name, and no tab is admitted as another user.
 * @property {boolean} connected
 */

/**
 * A frame of a tab that waits for an answer.
 *
 * @typedef {object} Request
 * @property {Tab} tab
 * @property {number} id The tab's id for the frame.
 * @property {string} name
 * @property {Record<string, any>} args
 * @property {Map<string, string | undefined>} [asked] The tab's cursors of the channels without an
 *   answer.
 * @property {boolean} [echoed] Whether a publication of the same user has arrived since.
 */

/**
 * Lets tabs share one connection. Each tab speaks the protocol as if it had its own connection.
 *
 * The hub is a client of the server and a server for its tabs. It is subscribed to a channel while at
 * least one tab is, and answers each tab separately. Each tab tracks its own position in a channel,
 * and what it has missed, as without sharing.
 */
export class SharedHub {
  /** @type {Set<Tab>} */
  #tabs = new Set();
  /** @type {Map<string, { members: Set<Tab>, inside: boolean, epoch?: string, offset: number }>} */
  #channels = new Map();
  /** @type {Map<number, Request>} By the hub's own ids, in ascending order. */
  #requests = new Map();
  /** @type {Link | null} */
  #link = null;
  /** @type {Record<string, any>} */
  #greeting = {};
  #token = undefined;
  #environment;
  #openLink;

  /**
   * @param {Record<string, any>} environment
   * @param {OpenLink} openLink Creates the link to the server.
   */
  constructor(environment, openLink) {
    this.#environment = environment;
    this.#openLink = openLink;
  }

  /**
   * Admit a tab.
   *
   * @param {Tab["post"]} post Sends a message to the tab.
   * @param {string} url
   * @param {Record<string, any>} options Its `user`, `timeout`, `heartbeat` and `transports`.
   * @returns {{ receive: (text: string) => void, leave: () => void }}
   */
  join(post, url, options) {
    /** @type {Tab} */
    const tab = { post, decoder: new FrameDecoder(), connectId: 0, expected: undefined, connected: false };
    this.#tabs.add(tab);
    return {
      receive: (text) => {
        for (const [id, name, args] of tab.decoder.feed(text)) {
          if (this.#tabs.has(tab)) {
            this.#receive(tab, id, name, args, url, options);
          }
        }
      },
      leave: () => this.#gone(tab),
    };
  }

  /** Close the connection, because this tab no longer holds it for the others. */
  close() {
    const link = this.#link;
    this.#link = null;
    this.#closeTabs(() => true, HANDED_ON, "Another tab takes over.");
    this.#forget();
    link?.close();
  }

  // ---- from tabs ----------------------------------------------------------------------------

  #receive(tab, id, name, args, url, options) {
    if (name === "CONNECT") {
      this.#connect(tab, id, args, url, options);
    } else if (!tab.connected) {
      this.#send(tab, "ERROR", { id, msg: "Not connected", code: "not_connected" });
    } else if (name === "PING") {
      // The server's answer tells the tab, and this hub, whether the connection is alive.
      this.#link.check();
      this.#forward(tab, id, name, args);
    } else if (name === "SUBSCRIBE") {
      this.#subscribe(tab, id, args);
    } else if (name === "UNSUBSCRIBE") {
      this.#unsubscribe(tab, id, args);
    } else {
      this.#forward(tab, id, name, args);
    }
  }

  #connect(tab, id, args, url, options) {
    const { token, cookie_string: cookieString, payload, expect_user: expected = options.user } = args;
    this.#token = token;
    tab.connectId = id;
    tab.expected = expected;
    if (this.#link?.status === "connected") {
      this.#greet(tab);
      return;
    }
    if (!this.#link || this.#link.status === "closed") {
      this.#link = this.#newLink(url, {
        ...options,
        token: () => this.#token,
        cookieString,
        payload: payload === undefined ? undefined : JSON.parse(payload),
      });
      this.#link.user = expected ?? null;
    }
    this.#link.open();
  }

  #newLink(url, options) {
    const mine = (handler) => (...args) => link === this.#link && handler(...args);
    const link = this.#openLink(url, options, this.#environment, {
      onStatus: () => {},
      onConnected: mine((args) => this.#connected(args)),
      onFrame: mine((name, args) => this.#hear(name, args)),
      onDetached: mine((wasConnected, code, reason) => this.#detached(wasConnected, code, reason)),
      onLost: mine((code, reason, again) => again || this.#closeTabs(() => true, code, reason)),
      onRefused: mine((error) => this.#refused(error)),
      onSessionEnded: () => {},
      isIdle: () => this.#requests.size === 0,
    });
    return link;
  }

  #greet(tab) {
    const { name } = this.#greeting;
    if (tab.expected !== undefined && tab.expected !== name) {
      const msg = "You are no longer signed in as the same user.";
      this.#send(tab, "ERROR", { id: tab.connectId, msg, code: "session_expired" });
      return;
    }
    tab.connected = true;
    this.#send(tab, "CONNECTED", this.#greeting);
  }

  #subscribe(tab, id, args) {
    const wanted = (args.channels ?? [args]).map((one) => (typeof one === "string" ? { channel_name: one } : one));
    const asked = new Map(wanted.map((one) => [one.channel_name, one.since]));
    const requests = [...asked].map(([name, since]) => {
      const cursor = since ?? (this.#isInside(name) ? NOWHERE : undefined);
      return cursor === undefined ? { channel_name: name } : { channel_name: name, since: cursor };
    });
    this.#forward(tab, id, "SUBSCRIBE", requests.length === 1 ? requests[0] : { channels: requests }, asked);
  }

  #unsubscribe(tab, id, args) {
    const name = args.channel_name;
    const channel = this.#channels.get(name);
    channel?.members.delete(tab);
    if (channel && (channel.members.size > 0 || this.#isAsked(name))) {
      this.#send(tab, "UNSUBSCRIBE", { channel_name: name, user: this.#greeting.name });
      this.#send(tab, "ACK", { id });
    } else {
      this.#forward(tab, id, "UNSUBSCRIBE", args);
    }
  }

  #forward(tab, id, name, args, asked = undefined) {
    this.#requests.set(this.#link.send(name, args), { tab, id, name, args, asked });
  }

  #gone(tab) {
    if (!this.#tabs.delete(tab)) {
      return;
    }
    if (this.#tabs.size === 0) {
      const link = this.#link;
      this.#link = null;
      this.#forget();
      link?.close();
      return;
    }
    for (const [name, channel] of this.#channels) {
      if (channel.members.delete(tab) && channel.members.size === 0 && !this.#isAsked(name)) {
        this.#forward(tab, 0, "UNSUBSCRIBE", { channel_name: name });
      }
    }
  }

  // ---- from the server ----------------------------------------------------------------------

  #connected(args) {
    this.#greeting = args;
    [...this.#tabs].filter((tab) => tab.connectId !== 0).forEach((tab) => this.#greet(tab));
  }

  #detached(wasConnected, code, reason) {
    this.#forget();
    if (wasConnected) {
      this.#closeTabs((tab) => tab.connected, code, reason);
    }
  }

  /** @param {HookboxError} error */
  #refused(error) {
    for (const tab of [...this.#tabs].filter((one) => one.connectId !== 0 && !one.connected)) {
      this.#send(tab, "ERROR", { .../** @type {object} */ (error.cause), id: tab.connectId });
    }
  }

  #hear(name, args) {
    const own = args.user === this.#greeting.name;
    switch (name) {
      case "ACK":
      case "ERROR":
        this.#answered(name, args);
        break;
      case "SUBSCRIBE":
        own ? this.#snapshot(args) : this.#toMembers(name, args);
        break;
      case "UNSUBSCRIBE":
        own ? this.#left(args) : this.#toMembers(name, args);
        break;
      case "PUBLISH":
        this.#noteEcho(args);
      // falls through
      case "STATE_UPDATE":
        this.#toMembers(name, args);
        break;
      default:
        this.#tabs.forEach((tab) => tab.connected && this.#send(tab, name, args));
    }
  }

  /** Forward the answer to a frame, with the tab's own id. */
  #answered(name, args) {
    const request = this.#requests.get(args.id);
    if (!request) {
      return;
    }
    const { tab, id, asked } = request;
    if (name === "ERROR" && args.channel_name !== undefined) {
      asked?.delete(args.channel_name); // the rest of the batch continues
    } else {
      this.#requests.delete(args.id);
    }
    if (name === "ERROR" && request.name === "UNSUBSCRIBE" && this.#tabs.has(tab)) {
      this.#channel(request.args.channel_name).members.add(tab);
    }
    if (name === "ACK" && request.name === "PUBLISH") {
      this.#echo(request, args);
    }
    this.#send(tab, name, { ...args, id });
  }

  /** Handle a snapshot, for the tab that requested it; without a request, the site sent it for all. */
  #snapshot(args) {
    const { recovered, missed, ...plain } = args;
    const channel = this.#channel(args.channel_name);
    channel.inside = true;
    channel.epoch = args.epoch;
    channel.offset = args.offset ?? 0;
    const request = this.#asking(args.channel_name, recovered !== undefined);
    const tabs = request ? [request.tab] : [...this.#tabs].filter((tab) => tab.connected);
    for (const tab of tabs.filter((one) => this.#tabs.has(one))) {
      channel.members.add(tab);
      this.#send(tab, "SUBSCRIBE", request?.asked.get(args.channel_name) === undefined ? plain : args);
    }
    request?.asked.delete(args.channel_name);
    if (request && channel.members.size === 0 && !this.#isAsked(args.channel_name)) {
      this.#forward(request.tab, 0, "UNSUBSCRIBE", { channel_name: args.channel_name }); // the tab is gone
    }
  }

  #left(args) {
    const channel = this.#channel(args.channel_name);
    const leavers = [...this.#requests.values()]
      .filter(({ name, args: theirs }) => name === "UNSUBSCRIBE" && theirs.channel_name === args.channel_name)
      .map(({ tab }) => tab);
    this.#channels.delete(args.channel_name);
    new Set([...channel.members, ...leavers]).forEach((tab) => this.#send(tab, "UNSUBSCRIBE", args));
  }

  #toMembers(name, args) {
    this.#channels.get(args.channel_name)?.members.forEach((tab) => this.#send(tab, name, args));
  }

  /** Note that a publication of the same user has arrived. */
  #noteEcho(args) {
    const channel = this.#channels.get(args.channel_name);
    if (channel && args.offset !== undefined) {
      channel.epoch = args.epoch ?? channel.epoch;
      channel.offset = args.offset;
    }
    if (args.user === undefined || args.user === this.#greeting.name) {
      for (const request of this.#requests.values()) {
        request.echoed ||= request.args.channel_name === args.channel_name;
      }
    }
  }

  /**
   * Pass a publication to the other tabs, if the server does not send it back to its user.
   *
   * @param {Request} request
   * @param {Record<string, any>} answer
   */
  #echo({ tab, args, echoed }, { offset, epoch }) {
    const channel = this.#channels.get(args.channel_name);
    const begins = epoch !== undefined && epoch !== channel?.epoch;
    if (!channel || (offset === undefined ? echoed : channel.offset >= offset && !begins)) {
      return;
    }
    channel.epoch = epoch ?? channel.epoch;
    channel.offset = offset ?? channel.offset;
    const datetime = new Date(this.#environment.now()).toISOString();
    const frame = { channel_name: args.channel_name, user: this.#greeting.name, datetime, offset, epoch };
    Object.assign(frame, { payload: JSON.parse(args.payload ?? "null") });
    channel.members.forEach((one) => one !== tab && this.#send(one, "PUBLISH", frame));
  }

  // ---- parts --------------------------------------------------------------------------------

  #channel(name) {
    if (!this.#channels.has(name)) {
      this.#channels.set(name, { members: new Set(), inside: false, offset: 0 });
    }
    return this.#channels.get(name);
  }

  /**
   * Return the request that the next snapshot of a channel answers.
   *
   * @param {string} name
   * @param {boolean} [recovering] Whether the snapshot continues from a cursor.
   * @returns {Request | undefined}
   */
  #asking(name, recovering = true) {
    return [...this.#requests.values()].find(
      ({ asked, args }) => asked?.has(name) && (recovering || !continues(args, name)),
    );
  }

  #isAsked(name) {
    return this.#asking(name) !== undefined;
  }

  /** Return whether the connection is, or will by then be, subscribed to a channel. */
  #isInside(name) {
    return this.#channels.get(name)?.inside || this.#isAsked(name);
  }

  #closeTabs(which, code, reason) {
    for (const tab of [...this.#tabs].filter(which)) {
      this.#tabs.delete(tab);
      tab.post({ closed: [code, reason] });
    }
  }

  #forget() {
    this.#channels.clear();
    this.#requests.clear();
  }

  #send(tab, name, args) {
    if (this.#tabs.has(tab)) {
      tab.post({ text: encodeFrame(0, name, args) });
    }
  }
}

/** Return whether a SUBSCRIBE frame contains a cursor for a channel. */
function continues(args, name) {
  return (args.channels ?? [args]).some((one) => one.channel_name === name && one.since !== undefined);
}
