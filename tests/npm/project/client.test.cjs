// Jest as it comes: CommonJS, and nothing of node_modules transformed.
const { connect, HookboxError } = require("djhookbox");
const classic = require("djhookbox/classic");
const legacy = require("djhookbox/legacy");

for (const module of [{ connect }, classic, legacy]) {
  test("connect() is there", () => {
    expect(typeof module.connect).toBe("function");
  });
}

test("all have the same classes", () => {
  expect(classic.HookboxError).toBe(HookboxError);
});

test("a page in jsdom connects", () => {
  const addresses = [];
  class WebSocket {
    constructor(address) {
      addresses.push(address);
    }
    close() {}
  }
  const hookbox = connect({ environment: { WebSocket } });
  expect(addresses).toEqual(["ws://localhost:8001/ws"]);
  hookbox.disconnect();
});
