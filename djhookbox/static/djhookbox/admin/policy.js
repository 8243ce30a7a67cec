/**
 * Keeps the examples, explanation and warnings of a policy up to date while its form is edited, and
 * shows the fields for groups and permission only if an audience needs them.
 */

/** Milliseconds without input before the request is sent. */
const PAUSE = 250;

const examples = document.getElementById("hookbox-examples");
const explained = document.getElementById("hookbox-explained");
const warnings = document.getElementById("hookbox-warnings");
const form = document.getElementById("channelpolicy_form");
/** The key in the address of an existing policy: …/channelpolicy/<key>/change/ */
const [, key = ""] = /\/(\d+)\/change\/$/.exec(location.pathname) ?? [];
/** The fields that the request contains; state and notes can be long. */
const SENT = [
  "name", "pattern", "order", "enabled", "create_audience", "subscribe_audience",
  "publish_audience", "groups", "permission", "history_size", "history_duration", "reflective",
  "presenceful", "anonymous",
];

let timer = 0;
let asked = "";

function typed() {
  const query = new URLSearchParams({ pk: key });
  const data = new FormData(form);
  for (const name of SENT) data.getAll(name).forEach((value) => query.append(name, value));
  return query;
}

function fill(target, texts, tag) {
  target.replaceChildren(
    ...texts.flatMap((text) => {
      const element = document.createElement(tag);
      element.textContent = text;
      if (tag === "code") element.dir = "ltr";
      return [element, " "];
    }),
  );
}

async function ask() {
  const query = typed().toString();
  if (query === asked) return;
  asked = query;
  const url = new URL(examples.dataset.preview, document.baseURI);
  url.search = query;
  let answer;
  try {
    const response = await fetch(url, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    answer = await response.json();
  } catch {
    return; // saving shows the same message
  }
  if (query !== asked) return; // the form has changed in the meantime
  if (answer.problem) examples.textContent = `✖ ${answer.problem}`;
  else if (answer.examples.length) fill(examples, answer.examples, "code");
  else examples.textContent = examples.dataset.none;
  examples.classList.toggle("hookbox-wrong", Boolean(answer.problem));
  fill(explained, answer.explained, "p");
  fill(warnings, answer.warnings, "li");
}

/** Hide a field that no audience needs, unless it has an error. */
function reveal() {
  const chosen = ["create", "subscribe", "publish"].map(
    (name) => form.elements[`${name}_audience`]?.value,
  );
  for (const name of ["groups", "permission"]) {
    const row = form.querySelector(`.field-${name}`);
    if (row) row.hidden = !chosen.includes(name) && !row.querySelector(".errorlist");
  }
}

function changed() {
  reveal();
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
}

if (examples && form?.elements.pattern) {
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  changed();
}
