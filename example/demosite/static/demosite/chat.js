import { connect } from "djhookbox";
import { showStatus } from "./status.js";

const find = (id) => document.getElementById(id);
const [messages, people, problem, composer, input] =
  ["messages", "people", "problem", "composer", "text"].map(find);

const hookbox = connect();
const room = hookbox.subscribe(find("chat").dataset.channel);
showStatus(hookbox, find("status"));

// Show the history, on the first subscription and after each interruption.
room.on("subscribed", () => {
  messages.replaceChildren(...room.messages.map(messageElement));
  messages.classList.add("loaded");
  messages.scrollTop = messages.scrollHeight;
  complain("");
});
room.on("publish", (message) => {
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  messages.append(messageElement(message));
  if (atEnd) {
    messages.scrollTop = messages.scrollHeight;
  }
});
room.on("presence", (names) => people.replaceChildren(...names.map(personElement)));
room.on("refused", (error) => complain(error.message));
room.on("unsubscribed", ({ reason }) => complain(reason || "You are no longer in this room."));
hookbox.on("disconnected", ({ reason, reconnecting }) => reconnecting || complain(reason));
hookbox.on("refused", (error) => complain(error.message));
hookbox.on("error", (error) => complain(error.message));

composer.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text) {
    return;
  }
  input.value = "";
  try {
    await room.publish({ text });
    complain("");
  } catch (error) {
    input.value ||= text;
    complain(`Not sent: ${error.message}`);
  }
});

function complain(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

/** Create an element. Text from other users is set as text, never as HTML. */
function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function messageElement({ user, payload, datetime }) {
  const item = element("li", user === hookbox.user ? "message own" : "message");
  const head = element("p", "head");
  const time = element("time", "");
  time.dateTime = datetime;
  time.textContent = new Date(datetime).toLocaleTimeString([], { timeStyle: "short" });
  head.append(element("strong", "", user), " ", time);
  item.append(avatar(user), head, element("p", "body", payload?.text ?? JSON.stringify(payload)));
  return item;
}

function personElement(user) {
  const item = element("li", "");
  item.append(avatar(user), element("span", "", user === hookbox.user ? `${user} (you)` : user));
  return item;
}

function avatar(user = "?") {
  const hue = [...user].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);
  const circle = element("span", "avatar", user.trim().charAt(0).toUpperCase());
  circle.style.setProperty("--hue", hue);
  circle.ariaHidden = "true";
  return circle;
}
