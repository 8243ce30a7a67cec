// Code as the author of a page writes it, to test hookbox.d.ts: `make check` compiles it; it never runs.

import { connect, type Connection, HookboxError, type Message } from "djhookbox";

const hookbox: Connection = connect({ debug: true, keep: 10, heartbeat: { interval: 5000 } });
const name: string | null = hookbox.user;
hookbox.on("status", (status) => status === "waiting");
hookbox.on("disconnected", ({ code, reason, reconnecting }) => [code + 1, reason.length, !reconnecting]);
hookbox.on("sessionended", ({ reason }) => reason.toUpperCase());
hookbox.on("refused", (error) => error.code + error.help + error.message);

const room = hookbox.subscribe("/rooms/1/", { since: "a:1" });
room.on("publish", ({ user, payload }) => console.log(user?.length, payload));
room.on("gap", ({ missed, channel }) => (missed ?? 0) + channel.length);
room.on("subscribed", ({ presence, recovered }) => presence.length > 0 && !recovered);

try {
  await room.publish({ text: "Hello" });
  await hookbox.message("alice", [name]);
} catch (error) {
  if (error instanceof HookboxError && error.code === "refused") {
    console.log(error.message);
  }
}
for await (const message of room) {
  const known: Message = message;
  console.log(known.datetime, known.missed === null);
}

// @ts-expect-error: there is no such event
room.on("published", () => {});
// @ts-expect-error: a message has no such member
room.on("publish", ({ text }) => text);
// @ts-expect-error: a channel's name is a string
hookbox.subscribe(1);
// @ts-expect-error: there is no such option
connect({ heartbeats: 5000 });
