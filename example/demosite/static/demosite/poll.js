import { connect } from "djhookbox";
import { words } from "./status.js";

document.addEventListener("alpine:init", () => {
  Alpine.data("poll", () => ({
    votes: JSON.parse(document.getElementById("votes").textContent),
    status: "connecting",
    problem: "",

    init() {
      const hookbox = connect();
      hookbox.on("status", (status) => (this.status = status));
      const channel = hookbox.subscribe(this.$root.dataset.channel);
      // The view got a cursor before it counted, so each later vote arrives exactly once.
      channel.on("publish", ({ payload }) => (this.votes[payload.dish] += 1));
      channel.on("gap", () => this.count());
    },

    /** Fetch the votes, because the server no longer has all the missed messages. */
    async count() {
      const answer = await fetch(this.$root.dataset.url, { headers: { Accept: "application/json" } });
      this.votes = await answer.json();
    },

    async vote({ target, submitter }) {
      const body = new FormData(target, submitter);
      try {
        const answer = await fetch(target.action, { method: "POST", body });
        this.problem = answer.ok ? "" : "Your vote was not counted.";
      } catch {
        this.problem = "Your vote was not counted: the site does not answer.";
      }
    },

    share(count) {
      const all = Object.values(this.votes).reduce((sum, one) => sum + one, 0);
      return all ? Math.round((100 * count) / all) : 0;
    },

    get words() {
      return words[this.status];
    },
  }));
});
