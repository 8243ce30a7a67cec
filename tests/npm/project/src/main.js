// What a site's author writes. Each bundler makes `dist/…` of it, and Node runs that.
import { connect, HookboxError, SessionEnded } from "djhookbox";
import * as classic from "djhookbox/classic";
import * as legacy from "djhookbox/legacy";

export const names = {
  today: [connect, HookboxError, SessionEnded].map((one) => typeof one),
  legacy: [typeof legacy.connect, typeof legacy.logging.get],
  classic: [typeof classic.connect, classic.HookboxError === HookboxError],
};

/** Connect to nothing: the transports that are loaded later are loaded, and fail. */
export async function tried() {
  const WebSocket = class {
    constructor() {
      throw new Error("no WebSocket here");
    }
  };
  const requests = [];
  const fetch = async (address) => {
    requests.push(new URL(address).pathname);
    throw new TypeError("no network here");
  };
  const hookbox = connect({ url: "http://hookbox.example", environment: { WebSocket, fetch } });
  await new Promise((resolve) => hookbox.on("disconnected", resolve));
  hookbox.disconnect();
  return requests;
}
