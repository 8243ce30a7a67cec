/**
 * What happens to pages in life, for the browser that evaluates this: `situations[name](context)`
 * tries one of them, and throws if the client does not do as it should. The page is one of the
 * demo's, signed in as alice. `context.gates` are addresses of proxies; see gate.py.
 */

window.situations = (() => {
  const CHANNEL = "/chat/situations/";
  let connections = 0;

  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  async function until(condition, what) {
    for (const end = Date.now() + 30_000; !condition(); await sleep(20)) {
      if (Date.now() > end) {
        throw new Error(`gave up waiting for ${what}`);
      }
    }
  }

  function equal(actual, expected, what) {
    if (JSON.stringify(actual) !== JSON.stringify(expected)) {
      throw new Error(`${what}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
    }
  }

  function within(number, least, most, what) {
    if (!(number >= least && number <= most)) {
      throw new Error(`${what}: ${number}, not ${least} to ${most}`);
    }
  }

  /** An environment in which time passes so many times as fast, and each delay is half of the longest. */
  const faster = (times) => ({
    setTimeout: (callback, delay) => setTimeout(callback, delay / times),
    now: () => Date.now() * times,
    random: () => 0.5,
    storage: undefined,
  });

  /** The browser's WebSocket, whose instances are kept; while `offline`, none gets through. */
  function spy({ gates }) {
    return class Spy extends WebSocket {
      static all = [];
      static sent = [];
      static offline = false;

      constructor(url) {
        super(Spy.offline ? `${gates.down.replace("http", "ws")}/ws` : url);
        Spy.all.push(this);
      }

      send(text) {
        Spy.sent.push(text);
        super.send(text);
      }
    };
  }

  /** A connection of the situation's own, not that of the page. */
  async function start(options, from = "djhookbox") {
    const { connect } = await import(from);
    connections += 1;
    return connect({ payload: connections, ...options });
  }

  const listen = (emitter, event, seen = []) => {
    emitter.on(event, (detail) => seen.push(detail));
    return seen;
  };

  /** Miss what `talk` publishes, and hear it all when the connection is back. */
  async function interrupt(Socket, hookbox, talk) {
    Socket.offline = true;
    Socket.all.at(-1).close();
    await until(() => !hookbox.connected, "the end of the connection");
    await talk();
    Socket.offline = false;
  }

  /** Count how often a page connects during a minute in which the server answers 502. */
  async function outage(context, connect, handle) {
    const Socket = spy(context);
    const hookbox = await connect({ url: context.gates.down, WebSocket: Socket, environment: faster(40) });
    const told = listen(hookbox, "disconnected");
    handle(hookbox);
    await sleep(1500);
    hookbox.disconnect();
    within(Socket.all.length, 3, 16, "WebSockets in a minute");
    equal(told.filter(({ reconnecting }) => reconnecting).length, 1, "outages told");
  }

  /** Count the polls until the connection counts as lost, where something answers them at once. */
  async function poll(url, reason) {
    let polls = 0;
    const counted = (address, init) => {
      polls += address.includes("/comet?") ? 1 : 0;
      return fetch(address, init);
    };
    const environment = { ...faster(10), fetch: counted };
    const hookbox = await start({ url, transports: ["polling"], environment });
    const told = listen(hookbox, "disconnected");
    await until(() => told.length > 0, "the connection to be given up");
    hookbox.disconnect();
    within(polls, 3, 15, "polls");
    equal(told[0].reason.includes(reason), true, told[0].reason);
  }

  /** Whatever hangs fails. */
  const limited = (all) =>
    Object.fromEntries(
      Object.entries(all).map(([name, attempt]) => [
        name,
        (context) =>
          Promise.race([attempt(context), sleep(60_000).then(() => Promise.reject(new Error("it hangs")))]),
      ]),
    );

  return limited({
    "nobody is called once unsubscribe() or disconnect() has returned": async (context) => {
      for (const end of [(hookbox, room) => room.unsubscribe(), (hookbox) => hookbox.disconnect()]) {
        const Socket = spy(context);
        const talker = await start({});
        const hookbox = await start({ WebSocket: Socket, transports: ["websocket"] });
        const room = hookbox.subscribe(CHANNEL);
        await room.ready;
        const heard = [];
        for (let listener = 0; listener < 2; listener += 1) {
          room.on("publish", ({ payload }) => {
            heard.push(payload);
            end(hookbox, room);
          });
        }
        const others = ["subscribed", "presence", "gap"].map((event) => listen(room, event));
        await interrupt(Socket, hookbox, async () => {
          for (const payload of ["first", "second", "third"]) {
            await talker.publish(CHANNEL, payload);
          }
        });
        await until(() => heard.length > 0, "the first message");
        await talker.publish(CHANNEL, "fourth");
        await (hookbox.connected ? hookbox.publish(CHANNEL, "fifth") : sleep(200));
        equal(heard, ["first"], "heard");
        equal(others, [[], [], []], "other events");
        [talker, hookbox].forEach((one) => one.disconnect());
      }
    },

    "an outage is told once, whatever handlers do": (context) =>
      outage(context, start, (hookbox) => hookbox.on("disconnected", () => hookbox.connect())),

    "an outage is told once to a page of 2011 as well": async (context) => {
      const told = [];
      await outage(context, (options) => start(options, "djhookbox/legacy"), (hookbox) => {
        hookbox.onClose = () => told.push(hookbox.connect());
      });
      within(told.length, 1, 2, "calls of onClose");
    },

    "WebSockets that are always cut are given up for a stream": async (context) => {
      const Socket = spy(context);
      const environment = { random: () => 0, storage: undefined };
      const hookbox = await start({ url: context.gates.brief, WebSocket: Socket, environment });
      const room = hookbox.subscribe(CHANNEL);
      await until(() => hookbox.transport === "streaming" && room.status === "subscribed", "a stream");
      equal(Socket.all.length, 3, "WebSockets");
      await room.publish("through the stream");
      hookbox.disconnect();
    },

    "polls that are answered at once are not sent on and on": ({ gates }) => poll(gates.empty, "answers the requests"),
    "polls that are cut at once are not sent on and on": ({ gates }) => poll(gates.cut, ""),

    "Infinity is no limit": async (context) => {
      for (const long of [Infinity, 2 ** 31 + 5, Number.MAX_VALUE]) {
        const Socket = spy(context);
        const hookbox = await start({
          WebSocket: Socket,
          timeout: long,
          heartbeat: { interval: long, timeout: long },
        });
        await hookbox.publish(CHANNEL, "in no hurry");
        await sleep(150);
        equal(Socket.sent.filter((text) => text.includes("PING")), [], "pings");
        equal(Socket.all.length, 1, "WebSockets");
        hookbox.disconnect();
      }
    },

    "an address that no WebSocket takes is reported": async () => {
      let thrown = "nothing";
      try {
        new WebSocket("ws://localhost:99999/ws");
      } catch (error) {
        thrown = error.name;
      }
      equal(thrown, "SyntaxError", "what the browser throws");
      const hookbox = await start({ url: "http://localhost:99999", environment: faster(20) });
      const told = listen(hookbox, "disconnected");
      await until(() => told.length > 0, "the report");
      equal(hookbox.status, "waiting", "status");
      hookbox.disconnect();
    },

    "a token function that says the session has ended is called once": async () => {
      const { SessionEnded } = await import("djhookbox");
      let calls = 0;
      const token = async () => {
        calls += 1;
        throw new SessionEnded("Please sign in again.");
      };
      const hookbox = await start({ token, environment: faster(20) });
      const room = hookbox.subscribe(CHANNEL);
      const ended = listen(hookbox, "sessionended");
      const refused = listen(hookbox, "refused");
      await room.ready.catch(() => {});
      await sleep(500);
      equal([calls, hookbox.status, refused.length], [1, "closed", 1], "calls, status, refusals");
      equal(ended.map(({ reason }) => reason), ["Please sign in again."], "reasons");
    },

    "a token function that fails is called less and less often": async () => {
      const calls = [];
      const token = async () => {
        calls.push(Date.now());
        throw new TypeError("offline");
      };
      const hookbox = await start({ token, environment: faster(40) });
      const errors = listen(hookbox, "error");
      await sleep(1500); // a minute
      hookbox.disconnect();
      within(calls.length, 3, 16, "calls in a minute");
      equal(errors.length, calls.length, "errors told");
      within(calls.at(-1) - calls.at(-2), 100, Infinity, "milliseconds between the last two");
    },

    "copies of the client have one connection": async () => {
      const text = await (await fetch("/static/djhookbox/hookbox.classic.js")).text();
      const classic = () => new Function(`${text}; return hookbox;`)();
      const copies = [
        await import("djhookbox"),
        await import("/static/djhookbox/hookbox.js"),
        classic(),
        classic(), // a script that is included twice
      ];
      const one = { payload: "a connection for all copies" };
      const [hookbox, ...others] = copies.map(({ connect }) => connect(one));
      equal(others.map((other) => other === hookbox), [true, true, true], "the same connection");
      const room = hookbox.subscribe(CHANNEL);
      equal(others[2].subscribe(CHANNEL) === room, true, "the same subscription");
      await room.ready;
      hookbox.disconnect();
    },

    "options and payloads may be what a framework wraps": async () => {
      const wrap = (value) =>
        typeof value === "object" && value
          ? new Proxy(value, { get: (target, name, self) => wrap(Reflect.get(target, name, self)) })
          : value;
      const hookbox = await start(wrap({
        shared: true,
        user: "alice",
        timeout: Infinity,
        transports: ["websocket", "polling"],
        heartbeat: { interval: Infinity },
        payload: { wrapped: true },
      }));
      const room = hookbox.subscribe(CHANNEL);
      const heard = listen(room, "publish");
      await room.ready;
      equal(hookbox.transport, "shared", "transport");
      await room.publish(wrap({ list: [1, { two: 2 }] }));
      await until(() => heard.length > 0, "the message");
      equal(heard[0].payload, { list: [1, { two: 2 }] }, "payload");
      hookbox.disconnect();
    },

    "for await ends with the connection, and throws its refusal": async () => {
      const { SessionEnded } = await import("djhookbox");
      const heard = [];
      const loop = async (room) => {
        for await (const { payload } of room) {
          heard.push(payload);
        }
        return "ended";
      };
      const hookbox = await start({});
      const room = hookbox.subscribe(CHANNEL);
      await room.ready;
      const ends = loop(room);
      await room.publish("to the loop");
      await until(() => heard.length > 0, "the message");
      hookbox.disconnect();
      equal(await ends, "ended", "the loop");
      equal(await loop(room), "ended", "a loop afterwards");
      const refused = await start({ token: () => Promise.reject(new SessionEnded()) });
      const outcome = await loop(refused.subscribe(CHANNEL)).catch(({ code }) => code);
      equal(outcome, "session_expired", "the loop");
      equal(heard, ["to the loop"], "heard");
    },
  });
})();
