/** Targets in databases that tests have made. */
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import type { Database } from "./postgres.ts";

export const targetOf = ({ url, password }: Pick<Database, "url" | "password">, schema = "monocloud") =>
  Postgres.make({ url, password, schema });
