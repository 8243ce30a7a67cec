/**
 * Shows that something is happening: a form with `data-hookbox-progress` shows its text when it
 * is sent, and cannot be sent twice.
 */

document.addEventListener("submit", (event) => {
  const form = event.target;
  const text = form.dataset.hookboxProgress;
  if (!text) return;
  if (form.dataset.hookboxSent) {
    event.preventDefault();
    return;
  }
  form.dataset.hookboxSent = "true";
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  status.className = "hookbox-progress";
  form.append(status);
  // In the next moment, so that screen readers notice a change of the region.
  setTimeout(() => {
    status.textContent = text;
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  });
});

// A page from the browser's back/forward cache may be used again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-hookbox-sent]")) {
    delete form.dataset.hookboxSent;
    form.querySelector(".hookbox-progress")?.remove();
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
});
