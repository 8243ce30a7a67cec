/** What is said of each status of a connection. */
export const words = {
  connecting: "Connecting…",
  connected: "Connected",
  waiting: "Connection lost; coming back…",
  closed: "Not connected. Reload the page.",
};

/** Show in an element where a connection stands. */
export function showStatus(hookbox, element) {
  const show = () => {
    element.textContent = words[hookbox.status];
    element.dataset.status = hookbox.status;
  };
  hookbox.on("status", show);
  show();
}
