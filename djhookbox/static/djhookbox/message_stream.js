/** @import { Message, Subscription } from "./subscription.js" */

/** How many messages wait for a loop that is slow; then the oldest go, and the loop is told. */
const LIMIT = 1000;

/**
 * A subscription's messages from now on, for one `for await` loop.
 *
 * @param {Subscription} subscription
 * @returns {AsyncIterableIterator<Message>}
 */
export function messageStream(subscription) {
  const gone = new AbortController();
  const { signal } = gone;
  /** @type {any[]} */
  const messages = [];
  /** How many are missing before the next one: NaN if nobody knows. */
  let missed = 0;
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
      await new Promise((resolve) => (wake = () => resolve(undefined)));
    }
  })();
  const { return: finish } = stream;
  stream.return = (value) => {
    messages.length = 0;
    gone.abort();
    wake(); // who waits for the next one waits no longer
    return finish.call(stream, value);
  };
  return stream;
}
