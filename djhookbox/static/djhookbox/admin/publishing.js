/**
 * Shows who will receive a message while the channel is typed, and submits the form only once. The
 * channel's input has `data-audience`, an address that answers `?channel=…` with two texts.
 */

/** Milliseconds without input before the request is sent. */
const PAUSE = 250;
/** Milliseconds after which a count is out of date. */
const REFRESH = 5000;

/** @param {HTMLInputElement} input */
function follow(input) {
  const audience = document.getElementById("hookbox-audience");
  const vouching = document.getElementById("hookbox-vouching");
  let timer = 0;

  async function ask() {
    clearTimeout(timer);
    const channel = input.value;
    const url = new URL(input.dataset.audience, document.baseURI);
    url.searchParams.set("channel", channel);
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      if (!response.ok) return; // the session has ended; submitting the form shows it
      const answer = await response.json();
      if (input.value !== channel) return; // the input has changed in the meantime
      // Screen readers announce only changes.
      if (audience.textContent !== answer.audience) audience.textContent = answer.audience;
      if (vouching.textContent !== answer.vouching) vouching.textContent = answer.vouching;
    } catch {
      // The site does not answer; the next request may succeed.
    }
    again(REFRESH);
  }

  function again(pause) {
    clearTimeout(timer);
    timer = setTimeout(() => (document.hidden ? again(REFRESH) : ask()), pause);
  }

  input.addEventListener("input", () => again(PAUSE));
  input.addEventListener("change", ask);
  again(input.value ? REFRESH : PAUSE);
}

/** @param {HTMLFormElement} form */
function sendOnce(form) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  // When the user returns through the browser's history, the page is restored as it was left.
  window.addEventListener("pageshow", () => {
    sent = false;
  });
}

document.querySelectorAll("input[data-audience]").forEach(follow);
document.querySelectorAll("#hookbox-publish").forEach(sendOnce);
