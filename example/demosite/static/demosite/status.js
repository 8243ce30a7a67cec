/** The text for each status of a connection. */
export const words = {
  connecting: "Connecting…",
  connected: "Connected",
  waiting: "Connection lost. Reconnecting…",
  closed: "Not connected. Reload the page.",
};

/** Show the status of a connection in an element. */
export function showStatus(hookbox, element) {
  const show = () => {
    element.textContent = words[hookbox.status];
    element.dataset.status = hookbox.status;
  };
  hookbox.on("status", show);
  show();
}
