/**
 * Lets rows of the policies be dragged by their handle, with a mouse, a pen or a finger, or moved
 * with the arrow keys. The buttons beside the handle do the same without this script.
 */

/** @param {HTMLButtonElement} handle */
function enable(handle) {
  const row = handle.closest("tr");
  const body = row.parentElement;
  const buttons = row.querySelectorAll("button[name=move]");
  let dragging = null;

  /** @returns {HTMLTableRowElement[]} the rows that have a handle; the last one has none */
  const rows = () => [...body.rows].filter((one) => one.querySelector(".hookbox-handle"));

  function stop(keep) {
    row.classList.remove("hookbox-dragged");
    const { next } = dragging;
    dragging = null;
    if (!keep) next ? next.before(row) : body.append(row);
    return next;
  }

  handle.hidden = false;
  handle.addEventListener("keydown", (event) => {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      send(`${handle.dataset.policy}:${event.key === "ArrowUp" ? "up" : "down"}`);
    } else if (event.key === "Escape" && dragging) {
      stop(false);
    }
  });
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    handle.setPointerCapture(event.pointerId);
    dragging = { next: row.nextElementSibling };
    row.classList.add("hookbox-dragged");
  });
  handle.addEventListener("pointermove", (event) => {
    if (!dragging) return;
    for (const other of rows()) {
      if (other === row) continue;
      const box = other.getBoundingClientRect();
      if (event.clientY < box.top || event.clientY > box.bottom) continue;
      event.clientY < box.top + box.height / 2 ? other.before(row) : other.after(row);
      break;
    }
  });
  handle.addEventListener("pointercancel", () => dragging && stop(false));
  handle.addEventListener("pointerup", () => {
    if (!dragging) return;
    const next = stop(true);
    if (row.nextElementSibling === next) return; // where it was
    const below = row.nextElementSibling?.querySelector(".hookbox-handle");
    send(`${handle.dataset.policy}:before:${below ? below.dataset.policy : ""}`);
  });

  /** Send a move in a form of its own, so that no action of the list goes along. */
  function send(move) {
    const form = document.createElement("form");
    form.method = "post";
    form.action = buttons[0].formAction;
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
