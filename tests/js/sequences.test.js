/**
 * Two tabs of one user, and a server that does what docs/protocol.rst says: whatever happens in
 * whatever order, each tab is given each publication once and in order, or is told of a gap.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, subscribeArgs } from "./fakes.js";

const NAMES = ["/a/", "/b/", "/c/"];

/** Random numbers that are the same in each run. */
function seeded(seed) {
  let state = seed;
  const next = (bound) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * bound);
  };
  [1, 2, 3].forEach(next);
  return next;
}

class Server {
  /** Channels by name; the one user is in them with all tabs, or with none. */
  channels = new Map();
  tabs = [];
  #epochs = 0;

  constructor(random) {
    this.random = random;
    NAMES.forEach((name) => this.channels.set(name, { name, newest: 0, size: 1 + random(5), reflective: random(2) === 0 }));
    this.restart();
  }

  restart() {
    this.tabs.forEach((tab) => tab.drop(1012));
    for (const channel of this.channels.values()) {
      this.#epochs += 1;
      Object.assign(channel, { epoch: `e${this.#epochs}`, offset: 0, kept: [], inside: false });
    }
  }

  send(tab, name, args) {
    if (tab.connected && tab.greeted) {
      tab.incoming.push([name, args]);
    }
  }

  publish(channel, origin) {
    channel.newest += 1;
    channel.offset += 1;
    const message = { payload: channel.newest, datetime: "t", offset: channel.offset };
    channel.kept = [...channel.kept, message].slice(-channel.size);
    const place = { offset: channel.offset, ...(channel.offset === 1 ? { epoch: channel.epoch } : {}) };
    const excluded = channel.reflective ? undefined : origin;
    if (excluded) {
      excluded.own.add(`${channel.name}${channel.newest}`);
    }
    for (const tab of this.tabs.filter((one) => channel.inside && one !== excluded)) {
      this.send(tab, "PUBLISH", { channel_name: channel.name, ...message, ...place });
    }
    return place;
  }

  #snapshot(tab, { name, epoch, offset, kept }, since) {
    const args = { ...subscribeArgs(name), epoch, offset };
    if (since !== undefined) {
      const [theirs, seen] = since.split(":");
      const same = theirs === epoch;
      args.recovered = same ? kept.filter((one) => one.offset > Number(seen)) : kept;
      args.missed = same ? offset - Number(seen) - args.recovered.length : null;
    }
    this.send(tab, "SUBSCRIBE", args);
  }

  handle(tab, [id, name, args]) {
    if (name === "CONNECT") {
      tab.greeted = true;
      this.send(tab, "CONNECTED", { name: "alice", version: "1" });
      this.channels.forEach((channel) => channel.inside && this.#snapshot(tab, channel));
      return;
    }
    let place = {};
    const channel = this.channels.get(args.channel_name);
    if (name === "PUBLISH") {
      place = this.publish(channel, tab);
    } else if (name === "UNSUBSCRIBE" && channel.inside) {
      channel.inside = false;
      this.tabs.forEach((one) => this.send(one, "UNSUBSCRIBE", { channel_name: channel.name, user: "alice" }));
    } else if (name === "SUBSCRIBE") {
      if (args.channels && this.random(6) === 0) {
        this.send(tab, "ERROR", { id, msg: "No", code: this.random(2) ? "malformed" : "limit" });
        return;
      }
      for (const { channel_name: wanted, since } of args.channels ?? [args]) {
        this.#subscribe(tab, this.channels.get(wanted), since);
      }
    }
    this.send(tab, "ACK", { id, ...place });
  }

  #subscribe(tab, channel, since) {
    if (!channel.inside || since !== undefined) {
      this.#snapshot(tab, channel, since);
    }
    if (!channel.inside) {
      channel.inside = true;
      this.tabs.filter((one) => one !== tab).forEach((one) => this.#snapshot(one, channel));
    }
  }
}

class Tab {
  browser = new FakeBrowser();
  incoming = [];
  /** Whether the server has its CONNECT. */
  greeted = false;
  /** What it has published itself and does not get back. */
  own = new Set();
  gaps = 0;
  #opened = null;
  #handled = 0;
  #last = new Map();
  #gap = new Set();

  constructor(what) {
    this.hookbox = connect({ environment: this.browser.environment, heartbeat: { interval: 0 }, timeout: 1e9 });
    this.rooms = NAMES.map((name) => this.hookbox.subscribe(name));
    for (const room of this.rooms) {
      const name = room.channelName;
      room.on("publish", ({ payload }) => {
        const last = this.#last.get(name) ?? payload - 1;
        assert.ok(payload > last, `${what}: ${payload} came after ${last}`);
        for (let missing = last + 1; missing < payload; missing += 1) {
          assert.ok(this.#gap.has(name) || this.own.has(`${name}${missing}`), `${what}: ${missing} is missing`);
        }
        this.#last.set(name, payload);
        this.#gap.delete(name);
      });
      room.on("gap", () => {
        this.gaps += 1;
        this.#gap.add(name);
      });
      room.on("unsubscribed", () => this.#last.delete(name)); // by the other tab
    }
  }

  get connected() {
    return this.#opened === this.browser.socket && this.#opened.closedWith === null;
  }

  drop(code) {
    if (this.connected) {
      this.browser.drop(code);
    }
  }

  comeBack() {
    this.browser.clock.pass(1000);
    if (!this.connected && this.browser.socket.closedWith === null) {
      this.#opened = this.browser.socket;
      this.#handled = 0;
      this.incoming = [];
      this.greeted = false;
      this.browser.socket.onopen({});
    }
  }

  /** Let the server handle a frame. */
  serve(server) {
    const frame = this.connected && this.browser.socket.sent[this.#handled];
    if (frame) {
      this.#handled += 1;
      server.handle(this, frame);
    }
  }

  hear(frames) {
    if (this.connected) {
      this.browser.deliver(...this.incoming.splice(0, frames));
    }
  }

  stayInside() {
    this.rooms.filter((room) => !room.wanted).forEach((room) => room.subscribe());
  }

  last(name) {
    return this.#last.get(name);
  }
}

test("each publication reaches each tab once, in order, or lies in a gap that is told", async (context) => {
  // What a listener throws must not pass for a page's mistake.
  const errors = context.mock.method(console, "error", () => {});
  let gaps = 0;
  for (let seed = 1; seed <= 150; seed += 1) {
    const random = seeded(seed * 7919);
    const server = new Server(random);
    server.tabs = [new Tab(`seed ${seed}, tab 1`), new Tab(`seed ${seed}, tab 2`)];
    const channels = [...server.channels.values()];
    for (let step = 0; step < 250; step += 1) {
      const tab = server.tabs[random(2)];
      const what = random(40);
      if (what < 9) {
        tab.serve(server);
      } else if (what < 18) {
        tab.hear(1 + random(3));
      } else if (what < 26) {
        server.publish(channels[random(3)]);
      } else if (what < 29) {
        tab.rooms[random(3)].publish(0).catch(() => {});
      } else if (what < 35) {
        tab.comeBack();
      } else if (what < 37) {
        tab.drop([1006, 4001][random(2)]);
      } else if (what === 37 && random(3) === 0) {
        server.restart();
      } else if (what === 38) {
        const room = tab.rooms[random(3)];
        room.unsubscribe();
        room.subscribe();
      } else {
        tab.stayInside();
      }
      if (random(4) === 0) {
        await null;
      }
    }
    for (let turn = 0; turn < 150; turn += 1) {
      for (const tab of server.tabs) {
        tab.comeBack();
        tab.serve(server);
        tab.hear(9);
        tab.stayInside();
      }
      await null;
    }
    channels.forEach((channel) => server.publish(channel));
    server.tabs.forEach((tab) => tab.hear(9));
    assert.deepEqual(errors.mock.calls.map(({ arguments: [error] }) => error.message), []);
    for (const tab of server.tabs) {
      channels.forEach(({ name, newest }) => assert.equal(tab.last(name), newest, `seed ${seed}, ${name}`));
      assert.ok(tab.rooms.every((room) => room.status === "subscribed"));
      gaps += tab.gaps;
      tab.hookbox.disconnect();
    }
  }
  assert.ok(gaps > 100, "the runs were worth it");
});
