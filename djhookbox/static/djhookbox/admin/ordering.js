/**
 * Lets users drag policies by their handle, with a mouse, a pen or a finger, or move them with the
 * arrow keys. The buttons next to the handle do the same without this script.
 */

/** @param {HTMLButtonElement} handle */
function enable(handle) {
  const row = handle.closest("tr");
  const { policy } = handle.dataset;
  /** The position of the row when dragging started; null while it is not being dragged. */
  let start = null;

  /** @returns {HTMLTableRowElement[]} the rows with a handle; the last row has none */
  const rows = () =>
    [...row.parentElement.rows].filter((one) => one.querySelector(".hookbox-handle"));

  /** Move the other rows around this one: a row that is removed from the page loses the pointer. */
  function place(index) {
    const all = rows();
    const at = all.indexOf(row);
    if (index < at) row.after(...all.slice(index, at));
    else row.before(...all.slice(at + 1, index + 1));
  }

  function stop() {
    row.classList.remove("hookbox-dragged");
    start = null;
  }

  function cancel() {
    if (start === null) return;
    place(start);
    stop();
  }

  handle.hidden = false;
  handle.addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    send(`${policy}:${event.key === "ArrowUp" ? "up" : "down"}`);
  });
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    handle.setPointerCapture(event.pointerId);
    start = rows().indexOf(row);
    row.classList.add("hookbox-dragged");
  });
  handle.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const above = rows().filter((other) => {
      const box = other.getBoundingClientRect();
      return other !== row && box.top + box.height / 2 < event.clientY;
    });
    place(above.length);
  });
  handle.addEventListener("pointercancel", cancel);
  handle.addEventListener("pointerup", () => {
    if (start === null) return;
    const all = rows();
    const at = all.indexOf(row);
    const moved = at !== start;
    stop();
    if (!moved) return;
    const below = all[at + 1]?.querySelector(".hookbox-handle");
    send(`${policy}:before:${below ? below.dataset.policy : ""}`);
  });

  /** Submit a move in a separate form, so that no list action is submitted with it. */
  function send(move) {
    const form = document.createElement("form");
    form.method = "post";
    form.action = row.querySelector("button[name=move]").formAction;
    const token = document.querySelector("#changelist-form input[name=csrfmiddlewaretoken]");
    form.append(token.cloneNode(), hidden("move", move));
    document.body.append(form);
    form.submit();
  }
}

function hidden(name, value) {
  const input = document.createElement("input");
  Object.assign(input, { type: "hidden", name, value });
  return input;
}

document.querySelectorAll(".hookbox-handle").forEach(enable);
