import { connect } from "djhookbox";
import { showStatus } from "./status.js";

const find = (id) => document.getElementById(id);

const hookbox = connect();
const news = hookbox.subscribe(find("news").dataset.channel);
showStatus(hookbox, find("status"));

news.on("subscribed", () => {
  find("refused").hidden = true;
  find("items").replaceChildren();
  find("empty").hidden = false;
  news.messages.forEach(show);
});
news.on("publish", show);
news.on("refused", (error) => refuse(error.message));
news.on("unsubscribed", ({ reason }) => refuse(reason || "The subscription was ended."));
hookbox.on("refused", (error) => refuse(error.message));
hookbox.on("error", (error) => refuse(error.message));

// Try again when the button is clicked or the user returns from the admin.
const ask = () => find("refused").hidden || news.subscribe();
find("again").addEventListener("click", ask);
document.addEventListener("visibilitychange", () => document.hidden || ask());
window.addEventListener("focus", ask);

function refuse(reason) {
  find("reason").textContent = reason;
  find("refused").hidden = false;
  find("empty").hidden = true;
}

/** Show a message: any JSON value. An object may have a headline and a text. */
function show({ payload, datetime }) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = datetime;
  time.textContent = new Date(datetime).toLocaleString([], { timeStyle: "short", dateStyle: "medium" });
  item.append(time);
  const isText = typeof payload === "string";
  const { headline, text } = isText ? { text: payload } : (payload ?? {});
  for (const [name, value] of [["h2", headline], ["p", text]]) {
    if (value !== undefined) {
      const part = document.createElement(name);
      part.textContent = value;
      item.append(part);
    }
  }
  if (headline === undefined && text === undefined) {
    const code = document.createElement("code");
    code.textContent = JSON.stringify(payload);
    item.append(code);
  }
  find("items").prepend(item);
  find("empty").hidden = true;
}
