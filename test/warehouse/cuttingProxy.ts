/** A proxy between a client and PostgreSQL that breaks a connection at a message of its own choice, once. */
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { type Frame, makeFraming, type Side } from "./framing.ts";

export type { Side } from "./framing.ts";

/** A message that came to the proxy. */
export interface Message extends Frame {
  /** Which it is, of all since the proxy was armed: of both sides and of all connections, from 1. */
  readonly n: number;
  /** Which connection it came by, from 1. */
  readonly connection: number;
  readonly from: Side;
}

interface At {
  /** The message it is done at: which, since the proxy was armed, or the first that is so. Its bytes are all of it. */
  readonly at: number | ((message: Message, bytes: Buffer) => boolean);
  /** Whether the message is still forwarded. @default {"before"} */
  readonly when?: "before" | "after" | undefined;
}

/** What is done to the connection. */
export type Fault =
  /** Both sides are closed: in order, as by a proxy that is stopped, or by a reset, as by a machine that goes. */
  | At & { readonly how: "cut" | "reset" }
  /** The first half of the message is forwarded, and then both sides are closed in order. */
  | Omit<At, "when"> & { readonly how: "partial" }
  /** Nothing is forwarded, for so long or until it is released; then it goes on, or is reset. */
  | At & {
    readonly how: "hold";
    /** @default {Infinity} */
    readonly milliseconds?: number | undefined;
    /** @default {"go on"} */
    readonly then?: "go on" | "reset" | undefined;
  };

/** What was broken. */
export interface Struck {
  readonly message: Message;
  /**
   * What the server had said last of this connection: idle, in a transaction, or in one that failed. Undefined before its first
   * word. A request that is under way may have changed it since.
   */
  readonly status: "I" | "T" | "E" | undefined;
}

export interface CuttingProxy {
  readonly port: number;
  /** Gives the URL of a database with the address of the proxy. */
  readonly through: (url: string) => string;
  /** Counts anew, and does this at its message; once. */
  readonly arm: (fault: Fault) => Promise<Struck>;
  /** Tells what was broken since it was armed. */
  readonly struck: () => Struck | undefined;
  /** Lets go on what is held. */
  readonly release: () => void;
  /** All messages since it was armed: those that were forwarded, and the one at which it struck. */
  readonly messages: () => ReadonlyArray<Message>;
  /** How many of them there were: `client Q`, `server Z`. */
  readonly counts: () => Readonly<Record<string, number>>;
  /** Ends all connections and takes no more. */
  readonly close: () => Promise<void>;
}

/** Start a proxy to a port of this machine. It holds a message in memory until it is whole, and a list of all. */
export const startProxy = async (target: number, first?: Fault): Promise<CuttingProxy> => {
  let messages: Array<Message> = [];
  let armed: { readonly fault: Fault; readonly tell: (struck: Struck) => void } | undefined;
  let struck: Struck | undefined;
  let connections = 0;
  const sockets = new Set<Socket>();
  const held = new Set<() => void>();

  const arm = (fault: Fault) =>
    new Promise<Struck>((tell) => {
      [messages, struck, armed] = [[], undefined, { fault, tell }];
    });
  if (first !== undefined) arm(first);

  const carry = (client: Socket) => {
    const connection = ++connections;
    const server = connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const socketOf = { client, server };
    const waiting = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
    const isFull = { client: false, server: false };
    const next = makeFraming();
    let status: Struck["status"];
    let isHeld = false;
    let isOver = false;

    const other = (side: Side): Side => side === "client" ? "server" : "client";

    const forward = (from: Side, bytes: Buffer, done?: () => void) => {
      if (socketOf[other(from)].write(bytes, done) || isFull[from]) return;
      isFull[from] = true;
      flow(from);
      socketOf[other(from)].once("drain", () => {
        isFull[from] = false;
        flow(from);
      });
    };

    const flow = (from: Side) =>
      !isOver && (isHeld || isFull[from]) ? socketOf[from].pause() : socketOf[from].resume();

    /** Close both sides. What they still send is read and dropped: unread, it would make a reset of it. */
    const end = () => {
      isOver = true;
      for (const side of ["client", "server"] as const) {
        socketOf[side].end();
        flow(side);
      }
    };

    const reset = () => {
      isOver = true;
      client.resetAndDestroy();
      server.resetAndDestroy();
    };

    const hold = (milliseconds: number, release: () => void) => {
      const timer = milliseconds === Infinity ? undefined : setTimeout(() => letGo(), milliseconds);
      const letGo = () => {
        clearTimeout(timer);
        held.delete(letGo);
        isHeld = false;
        if (!isOver && !client.destroyed) release();
      };
      isHeld = true;
      held.add(letGo);
      flow("client");
      flow("server");
    };

    const strike = (fault: Fault, from: Side, bytes: Buffer) => {
      const isAfter = fault.how !== "partial" && fault.when === "after";
      switch (fault.how) {
        case "partial":
          forward(from, bytes.subarray(0, bytes.length >> 1));
          return end();
        case "cut":
          if (isAfter) forward(from, bytes);
          return end();
        case "reset":
          if (!isAfter) return reset();
          // A reset overtakes what is not yet sent.
          isOver = true;
          return forward(from, bytes, reset);
        case "hold":
          if (isAfter) forward(from, bytes);
          return hold(fault.milliseconds ?? Infinity, () => {
            if (fault.then === "reset") return reset();
            if (!isAfter) forward(from, bytes);
            for (const side of ["client", "server"] as const) {
              pump(side);
              flow(side);
            }
          });
      }
    };

    const pump = (from: Side) => {
      while (!isHeld && !isOver) {
        const frame = next(from, waiting[from]);
        if (frame === undefined) return;
        const bytes = waiting[from].subarray(0, frame.length);
        waiting[from] = waiting[from].subarray(frame.length);
        if (from === "server" && frame.type === "Z") status = String.fromCharCode(bytes[5]!) as "I";
        const message = { n: messages.length + 1, connection, from, ...frame };
        messages.push(message);
        const { fault, tell } = armed ?? {};
        if (fault && (typeof fault.at === "number" ? fault.at === message.n : fault.at(message, bytes))) {
          armed = undefined;
          struck = { message, status };
          strike(fault, from, bytes);
          tell?.(struck);
        } else forward(from, bytes);
      }
    };

    for (const side of ["client", "server"] as const) {
      const socket = socketOf[side];
      sockets.add(socket);
      socket.on("data", (bytes) => {
        if (isOver) return;
        waiting[side] = Buffer.concat([waiting[side], bytes]);
        pump(side);
      });
      socket.on("end", () => {
        if (isOver) return;
        if (waiting[side].length > 0) forward(side, waiting[side]);
        socketOf[other(side)].end();
      });
      socket.on("error", () => {
        if (!isOver) reset();
      });
      socket.on("close", () => sockets.delete(socket));
    }
  };

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, carry);
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;

  const release = () => {
    for (const letGo of held) letGo();
  };

  return {
    port,
    through: (url) => {
      const through = new URL(url);
      through.port = `${port}`;
      return through.href;
    },
    arm,
    struck: () => struck,
    release,
    messages: () => messages,
    counts: () => {
      const counts: Record<string, number> = {};
      for (const { from, type } of messages) {
        counts[`${from} ${type}`] = (counts[`${from} ${type}`] ?? 0) + 1;
      }
      return counts;
    },
    close: async () => {
      const closed = new Promise((resolve) => listener.close(resolve));
      for (const socket of sockets) socket.destroy();
      release();
      await closed;
    },
  };
};
