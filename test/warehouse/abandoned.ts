/** A process that starts a server, says which, and waits to be killed. Its argument is the folder of the programs. */
import process from "node:process";
import { makeCluster } from "./cluster.ts";

const { folder, port } = await makeCluster({ bin: process.argv[2]! });
console.log(JSON.stringify({ folder, port }));
setInterval(() => {}, 60_000);
