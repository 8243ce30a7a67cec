/**
 * Checks JSON while it is typed: a textarea with `data-json-valid` and `data-json-invalid` gets a
 * line below it that says whether its text is JSON, how large, and where a mistake is.
 */

/** Milliseconds without a key before a text is checked. */
const PAUSE = 250;

/**
 * Return where a mistake is, from the browser's message; each browser words it differently.
 * @param {string} text
 * @param {string} message
 */
export function place(text, message) {
  const found = /line (\d+) column (\d+)/.exec(message);
  if (found) return { line: Number(found[1]), column: Number(found[2]) };
  const position = /position (\d+)/.exec(message);
  if (!position) return null;
  const before = text.slice(0, Number(position[1])).split("\n");
  return { line: before.length, column: before.at(-1).length + 1 };
}

/** @param {HTMLTextAreaElement} area */
function check(area) {
  const status = document.createElement("div");
  status.className = "hookbox-json-status help";
  status.setAttribute("role", "status");
  // Next to the label, the admin has a container as high as the textarea.
  (area.closest(".flex-container") ?? area).after(status);
  const { jsonValid, jsonInvalid } = area.dataset;
  let timer = 0;

  function look() {
    const text = area.value;
    status.classList.remove("hookbox-wrong");
    if (!text.trim()) {
      status.textContent = "";
      return;
    }
    try {
      JSON.parse(text);
      const bytes = new TextEncoder().encode(text).length;
      status.textContent = `✔ ${jsonValid.replace("%s", bytes.toLocaleString())}`;
    } catch (error) {
      const where = place(text, error.message);
      const at = where ? ` (${where.line}:${where.column})` : "";
      status.textContent = `✖ ${jsonInvalid}${at}`;
      status.classList.add("hookbox-wrong");
    }
  }

  area.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE);
  });
  look();
}

if (typeof document !== "undefined") {
  document.querySelectorAll("textarea[data-json-valid]").forEach(check);
}
