/**
 * A cable between a worker and everything it talks to, which can be cut: a network namespace of its own with a pair of virtual
 * interfaces, of which one goes down; elsewhere, forwarders that pass nothing on. Either way no end is told.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import process from "node:process";

export interface Cable {
  /** True if the worker has a network namespace of its own. */
  readonly isNamespace: boolean;
  /** Words before those of the command, which put it behind the cable. */
  readonly behind: ReadonlyArray<string>;
  /** Gives the port by which the worker reaches that port of this machine, on 127.0.0.1. */
  readonly portFor: (port: number) => number;
  readonly cut: () => void;
  readonly mend: () => void;
  readonly remove: () => void;
}

const ip = (...words: ReadonlyArray<string>): void =>
  void execFileSync("ip", words, { stdio: ["ignore", "ignore", "pipe"] });

let laid = 0;

/** Make a namespace, and what leads there; undefined where this machine does not let us. */
const makeNamespace = () => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return undefined;
  const number = laid++;
  const name = `mcs${process.pid % 100_000}x${number}`;
  const [here, there] = [`${name}h`, `${name}t`];
  // A network of four addresses, out of those that are for tests of networks.
  const at = ((process.pid * 16 + number) % 16_384) * 4;
  const address = (last: number) => `198.${18 + (at >> 16)}.${(at >> 8) & 255}.${(at & 255) + last}`;
  try {
    ip("netns", "add", name);
    ip("link", "add", here, "type", "veth", "peer", "name", there);
    ip("link", "set", there, "netns", name);
    ip("addr", "add", `${address(1)}/30`, "dev", here);
    ip("link", "set", here, "up");
    for (const words of [["addr", "add", `${address(2)}/30`, "dev", there], ["link", "set", there, "up"]]) {
      ip("-n", name, ...words);
    }
    ip("-n", name, "link", "set", "lo", "up");
  } catch {
    try {
      ip("netns", "del", name);
    } catch {
      // It was not made.
    }
    return undefined;
  }
  return {
    host: address(1),
    behind: ["ip", "netns", "exec", name],
    set: (state: "up" | "down") => ip("link", "set", here, state),
    remove: () => ip("netns", "del", name),
  };
};

/** Within a namespace: listens on its loopback, and passes all on to an address outside. Arguments are PORT, HOST, PORT. */
const INSIDE = `
  const { connect, createServer } = require("node:net");
  const words = process.argv.slice(1);
  let left = words.length / 3;
  for (let at = 0; at < words.length; at += 3) {
    const [port, host, there] = words.slice(at, at + 3);
    const server = createServer((near) => {
      const far = connect(Number(there), host);
      for (const [one, other] of [[near, far], [far, near]]) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
        one.pipe(other);
      }
    });
    server.listen(Number(port), "127.0.0.1", () => --left === 0 && console.log("ready"));
  }
  process.stdin.resume().on("end", () => process.exit());
`;

/** Lay a cable to these ports of this machine. */
export const lay = async (ports: ReadonlyArray<number>): Promise<Cable> => {
  const space = makeNamespace();
  const host = space?.host ?? "127.0.0.1";
  const servers: Array<Server> = [];
  const sockets = new Set<Socket>();
  const outside = new Map<number, number>();
  let isCut = false;
  for (const port of ports) {
    const server = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      for (const [one, other] of [[near, far], [far, near]] as const) {
        sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
        if (isCut && space === undefined) one.pause();
      }
    });
    servers.push(server);
    server.listen(0, host);
    await once(server, "listening");
    outside.set(port, (server.address() as AddressInfo).port);
  }
  let inside: ChildProcess | undefined;
  if (space !== undefined) {
    const words = [...outside].flatMap(([port, there]) => [`${port}`, host, `${there}`]);
    const [program = "", ...before] = space.behind;
    inside = spawn(program, [...before, "node", "-e", INSIDE, ...words], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(inside.stdout!, "data");
  }
  const set = (now: boolean) => {
    isCut = now;
    if (space !== undefined) return space.set(now ? "down" : "up");
    for (const socket of sockets) {
      if (now) socket.pause();
      else socket.resume();
    }
  };
  return {
    isNamespace: space !== undefined,
    behind: space?.behind ?? [],
    portFor: (port) => space === undefined ? outside.get(port)! : port,
    cut: () => set(true),
    mend: () => set(false),
    remove: () => {
      inside?.kill("SIGKILL");
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
      space?.remove();
    },
  };
};
