import { connect, type Connection, HookboxError, SessionEnded } from "djhookbox";
import * as classic from "djhookbox/classic";
import { connect as connect2011, type LegacyConnection } from "djhookbox/legacy";

const hookbox: Connection = connect({ token: () => { throw new SessionEnded(); } });
hookbox.on("refused", (error: HookboxError) => error.code);

const old: LegacyConnection = connect2011("http://localhost:8001", "cookie=1");
old.onSubscribed = (name, subscription) => {
  subscription.onPublish = (frame) => console.log(name, frame.user, frame.payload);
};
old.onClose = (code, reason) => [code + 1, reason.length];
classic.connect("http://localhost:8001").onOpen = ({ name }) => name.length;
classic.logging.get("net").setLevel(0);

// @ts-expect-error: there is no such callback
old.onSubscribe = () => {};
// @ts-expect-error: an address is a string
connect2011(1, 2, 3);
