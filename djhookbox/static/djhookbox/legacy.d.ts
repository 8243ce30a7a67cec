// The names and callbacks of 2011; see legacy.js.

import type { Connection, Options, Subscription } from "./hookbox.js";

/** A message, as passed to `onPublish`. */
export interface PublishFrame {
    channel_name: string;
    payload: any;
    user?: string;
    datetime: string;
}

/** The arguments of an ERROR frame, or of an error of the client. */
export interface ErrorFrame {
    id: number | null;
    msg: string;
    code?: string;
    [more: string]: any;
}

/** A subscription with the callbacks of 2011. */
export interface LegacySubscription extends Omit<Subscription, "state"> {
    state: Record<string, any>;
    readonly canceled: boolean;
    readonly user: string | null;
    onPublish?: (frame: PublishFrame) => void;
    onSubscribe?: (frame: { channel_name: string; user: string }) => void;
    onUnsubscribe?: (frame: { channel_name?: string; user?: string; reason?: string }) => void;
    onState?: (frame: { updates: Record<string, any>; deletes: string[] }) => void;
    cancel(): void;
}

/** A connection with the callbacks of 2011. */
export interface LegacyConnection extends Connection {
    readonly username: string | null;
    url: string | undefined;
    onOpen?: (args: { name: string; [more: string]: any }) => void;
    onClose?: (code: number, reason: string) => void;
    onConnectionLost?: (reason: string) => void;
    onError?: (error: ErrorFrame) => void;
    onMessaged?: (frame: { sender: string; recipient: string; payload: any; datetime: string }) => void;
    onSubscribed?: (
        channelName: string,
        subscription: LegacySubscription,
        args: { history: [string, any][]; state: Record<string, any>; presence: string[]; [more: string]: any },
    ) => void;
    onUnsubscribed?: (subscription: LegacySubscription, args: any) => void;
    reconnect(): this;
}

/** Connect as in 2011, or with the current options; callbacks work in both cases. */
export declare function connect(url: string, cookieString?: string): LegacyConnection;
export declare function connect(url: string, payload: any, cookieString?: string): LegacyConnection;
export declare function connect(options?: Options): LegacyConnection;

interface Logger {
    setLevel(...args: any[]): void;
    debug(...args: any[]): void;
    log(...args: any[]): void;
    info(...args: any[]): void;
    warn(...args: any[]): void;
    error(...args: any[]): void;
}

/** The functions of `hookbox.logging` of 2011, without effect. */
export declare const logging: {
    get(name?: string): Logger;
    getLogger(name?: string): Logger;
    setProduction(): void;
};
