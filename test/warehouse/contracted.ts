/** The suite for targets as a program of its own, over PostgreSQL. Its argument is a URL; the password is in `PGPASSWORD`. */
import process from "node:process";
import { contract } from "../../src/warehouse/contract.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";

for (const [number, { name, run }] of contract.entries()) {
  await run(() => Postgres.make({ url: process.argv[2]!, schema: `contract ${number}` }));
  console.log(name);
}
// Connections are closed, and keep nothing alive.
