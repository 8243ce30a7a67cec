/** What tabs of one browser have in common: locks and broadcast channels. */

import { FakeBrowser } from "./fakes.js";

/** Locks as browsers have them: granted in turn, and free when the holder is done or dies. */
class FakeLocks {
  /** @type {Map<string, { owner: object, run: () => void }[]>} */
  #queues = new Map();

  /** The locks of one tab. */
  of(owner) {
    return {
      request: (name, ...rest) =>
        new Promise((resolve, reject) => {
          const [{ signal }, callback] = rest.length > 1 ? rest : [{}, rest[0]];
          const queue = this.#queues.get(name) ?? [];
          this.#queues.set(name, queue);
          let granted = false;
          signal?.addEventListener("abort", () => {
            if (!granted) {
              reject(signal.reason);
              this.#free(name, entry);
            }
          });
          const entry = {
            owner,
            run: async () => {
              if (owner.frozen) {
                return; // no script of it runs
              }
              granted = true;
              try {
                resolve(await callback());
              } catch (error) {
                reject(error);
              }
              this.#free(name, entry);
            },
          };
          queue.push(entry);
          if (queue.length === 1) {
            queueMicrotask(entry.run);
          }
        }),
    };
  }

  /** A tab has gone, with all that it held or waited for. */
  die(owner) {
    for (const [name, queue] of this.#queues) {
      queue.filter((entry) => entry.owner === owner).forEach((entry) => this.#free(name, entry));
    }
  }

  #free(name, entry) {
    const queue = this.#queues.get(name);
    const index = queue.indexOf(entry);
    if (index >= 0) {
      queue.splice(index, 1);
      if (index === 0 && queue.length > 0) {
        queueMicrotask(queue[0].run);
      }
    }
  }
}

/** A browser with several tabs; each is a `FakeBrowser` of its own. */
export class FakeTabs {
  #locks = new FakeLocks();
  #channels = new Set();

  open() {
    const tab = new FakeBrowser();
    const channels = this.#channels;
    Object.assign(tab.environment, {
      locks: this.#locks.of(tab),
      crypto: { subtle: { digest: async (_, bytes) => bytes } },
      BroadcastChannel: class {
        onmessage = (_event) => {};

        constructor(name) {
          this.name = name;
          this.tab = tab;
          channels.add(this);
        }

        postMessage(message) {
          const data = structuredClone(message);
          for (const other of channels) {
            if (other !== this && other.name === this.name) {
              queueMicrotask(() => channels.has(other) && !other.tab.frozen && other.onmessage({ data }));
            }
          }
        }

        close() {
          channels.delete(this);
        }
      },
    });
    return tab;
  }

  /** Stop a tab's scripts, as browsers do in the background; what it is sent waits. */
  freeze(tab) {
    tab.document.dispatchEvent(new Event("freeze"));
    tab.frozen = true;
  }

  /** Let a tab vanish without a word, as when its process is killed. */
  kill(tab) {
    [...this.#channels].filter((one) => one.tab === tab).forEach((one) => this.#channels.delete(one));
    this.#locks.die(tab);
  }
}
