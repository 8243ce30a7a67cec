/** @import { Message, Subscription } from "./subscription.js" */

/** How many messages may wait for a slow loop. Above it, the oldest become a gap. */
const LIMIT = 1000;

/**
 * Iterate over the subsequent messages of a subscription, for one `for await` loop.
 *
 * @param {Subscription} subscription
 * @returns {AsyncIterableIterator<Message>}
 */
export function messageStream(subscription) {
  const gone = new AbortController();
  const { signal } = gone;
  /** @type {any[]} */
  const messages = [];
  /** How many messages are missing before the next one; NaN if unknown. */
  let missed = 0;
  /** @type {any} */
  let wake = () => {};
  subscription
    .on("publish", (message) => {
      messages.push({ ...message, ...(missed === 0 ? {} : { missed }) });
      missed = 0;
      if (messages.length > LIMIT) {
        const [{ missed: before = 0 }, first] = messages.splice(0, 2);
        messages.unshift({ ...first, missed: before + 1 + (first.missed ?? 0) });
      }
      wake();
    }, { signal })
    .on("gap", (gap) => (missed += gap.missed ?? NaN), { signal })
    .on("status", () => wake(), { signal });

  const stream = (async function* () {
    for (;;) {
      while (messages.length > 0) {
        const message = messages.shift();
        yield Number.isNaN(message.missed) ? { ...message, missed: null } : message;
      }
      const { over } = subscription;
      if (over || signal.aborted) {
        gone.abort();
        if (over && over.code !== "closed") {
          throw over;
        }
        return;
      }
      await new Promise((resolve) => (wake = resolve));
    }
  })();
  const { return: finish } = stream;
  stream.return = (value) => {
    messages.length = 0;
    gone.abort();
    wake(); // end the wait for the next message
    return finish.call(stream, value);
  };
  return stream;
}
