/**
 * The names and callbacks of the client of 2011, on top of this one:
 *
 *     var connection = hookbox.connect("http://localhost:8001");
 *     connection.onSubscribed = function (name, subscription) {
 *       subscription.onPublish = function (frame) { alert(frame.payload); };
 *     };
 *     connection.subscribe("/rooms/1/");
 *
 * Part of `hookbox.classic.js`; modules may import it as `djhookbox/legacy`.
 */

import { guarded } from "./emitter.js";
import { connect as connectNow } from "./hookbox.js";

/**
 * Connections that were lost and are reconnecting. Pages of 2011 call `connect()` again themselves:
 * they get this connection instead of a second one, which would duplicate everything.
 *
 * @type {Map<string, any>}
 */
const returning = new Map();

/**
 * Connect as in 2011: `connect(url)`, `connect(url, cookieString)`, or in later releases `connect(url,
 * payload, cookieString)`. With options, this is the current `connect()`. Callbacks work in both
 * cases.
 *
 * @param {any} [url]
 * @param {...any} rest
 * @returns {any}
 */
export function connect(url, ...rest) {
  if (typeof url === "string" && returning.has(url)) {
    return returning.get(url).connect();
  }
  if (typeof url !== "string") {
    /** @type {any} */
    const connection = connectNow(url);
    return connection.observer ? connection : adopt(connection, undefined);
  }
  const [payload, cookieString] =
    rest.length === 1 && typeof rest[0] === "string" ? [undefined, rest[0]] : rest;
  // In 2011, subscriptions belonged to the user, on all pages.
  const options = { url, payload, cookieString, perConnection: false };
  return adopt(connectNow(options), url);
}

/** The functions of `hookbox.logging` of 2011, without effect; use `debug: true` instead. */
const logger = Object.fromEntries(
  ["setLevel", "debug", "log", "info", "warn", "error"].map((name) => [name, () => {}]),
);
export const logging = { get: () => logger, getLogger: () => logger, setProduction() {} };

/**
 * Call the callback that the page has assigned to `owner[name]`.
 *
 * @returns {boolean} Whether there is one.
 */
function call(owner, name, ...args) {
  if (typeof owner[name] !== "function") {
    return false;
  }
  guarded((...given) => owner[name](...given), ...args);
  return true;
}

function adopt(connection, url) {
  /** Subscriptions that the page knows, with the arguments of their end. */
  const known = new Map();
  const tellError = (error) =>
    call(connection, "onError", error.cause ?? { id: null, msg: error.message, code: error.code });
  const handlers = {
    connected: ({ user, ...more }) => {
      returning.delete(url);
      return call(connection, "onOpen", { name: user, ...more });
    },
    disconnected: ({ code, reason, reconnecting }) => {
      if (!reconnecting) {
        returning.delete(url);
      } else if (url !== undefined) {
        returning.set(url, connection);
        if (call(connection, "onConnectionLost", reason)) {
          return true;
        }
      }
      return call(connection, "onClose", code, reason);
    },
    refused: tellError,
    error: tellError,
    message: (frame) => call(connection, "onMessaged", frame),
    subscription: (subscription) => adoptSubscription(subscription, connection, known),
    subscribed: (subscription) => {
      if (known.has(subscription) && subscription.recovered) {
        return true; // nothing was lost: onPublish has received what was missed
      }
      known.set(subscription, {});
      const { channelName, history, historySize, state, presence, initialData } = subscription;
      const args = { history, state, presence, initial_data: initialData };
      Object.assign(args, { channel_name: channelName, user: connection.user, history_size: historySize });
      return call(connection, "onSubscribed", channelName, subscription, args);
    },
    unsubscribed: (subscription) => {
      const args = known.get(subscription);
      known.delete(subscription);
      return call(connection, "onUnsubscribed", subscription, args);
    },
  };
  connection.observer = (event, detail) => handlers[event]?.(detail) ?? false;
  for (const method of ["publish", "message"]) {
    const original = connection[method].bind(connection);
    connection[method] = (...args) => {
      const promise = original(...args);
      promise.catch(tellError); // pages of 2011 ignore promises
      return promise;
    };
  }
  Object.defineProperty(connection, "username", { get: () => connection.user });
  if (url !== undefined) {
    connection.unsubscribe = (name) => connection.getSubscription(name)?.cancel();
  }
  connection.reconnect = () => connection.connect();
  connection.url = url;
  globalThis.document?.[Symbol.for("djhookbox")]?.watch?.(connection); // debugging.js
  return connection;
}

function adoptSubscription(subscription, connection, known) {
  const callbacks = {
    publish: "onPublish",
    join: "onSubscribe",
    leave: "onUnsubscribe",
    state: "onState",
    unsubscribed: "onUnsubscribe",
  };
  subscription.observer = (event, detail) => {
    if (event === "unsubscribed") {
      known.set(subscription, detail);
    }
    return event in callbacks && call(subscription, callbacks[event], detail);
  };
  const prototype = Object.getPrototypeOf(subscription);
  const state = Object.getOwnPropertyDescriptor(prototype, "state").get;
  Object.defineProperties(subscription, {
    canceled: { get: () => subscription.status === "unsubscribed" },
    user: { get: () => connection.user },
    state: { get: () => ({ ...state.call(subscription) }) }, // with hasOwnProperty and the like
  });
  subscription.cancel = () => {
    subscription.handles = 1; // however often it was subscribed to
    subscription.unsubscribe();
  };
  return false;
}
