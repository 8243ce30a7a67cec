/**
 * Copies texts: a button with `data-hookbox-copy` (a selector) becomes visible and copies the text of
 * that element. If scripts cannot use the clipboard, the button selects the text instead.
 */

/** @param {Element} element */
function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

for (const button of document.querySelectorAll("[data-hookbox-copy]")) {
  const source = document.querySelector(button.dataset.hookboxCopy);
  const status = button.parentElement.querySelector("[role=status]");
  if (!source) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    status.textContent = "";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // The clipboard API requires https.
      source.closest("details")?.setAttribute("open", "");
      select(source);
      if (!document.execCommand("copy")) return;
    }
    status.textContent = button.dataset.copied;
  });
}
