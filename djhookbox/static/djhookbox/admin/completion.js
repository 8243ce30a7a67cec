/**
 * Completes names while the user types: inputs with `data-completions` request that address with
 * `?q=…`, and offer the answer `{"names": […]}` as a datalist.
 */

/** Milliseconds without input before the request is sent. */
const PAUSE = 150;

/** @param {HTMLInputElement} input */
function complete(input) {
  const list = document.createElement("datalist");
  list.id = `${input.id}-completions`;
  input.after(list);
  input.setAttribute("list", list.id);
  let timer = 0;
  let asked = null;

  async function ask() {
    const begun = input.value;
    if (begun === asked) return;
    asked = begun;
    const url = new URL(input.dataset.completions, document.baseURI);
    url.searchParams.set("q", begun);
    let names;
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      ({ names } = await response.json());
    } catch {
      return; // without completions, it is an ordinary input
    }
    if (asked !== begun) return; // the input has changed in the meantime
    list.replaceChildren(
      ...names.map((name) => {
        const option = document.createElement("option");
        option.value = name;
        return option;
      }),
    );
  }

  input.addEventListener("focus", ask);
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
}

document.querySelectorAll("input[data-completions]").forEach(complete);
