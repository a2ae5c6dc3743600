/** The way into a PostgreSQL by its URL: how its words are taken, and where the password comes from. */
import type * as Pg from "pg";
import * as PasswordFile from "./PasswordFile.ts";

/** A URL, and a password beside it. */
export interface Login {
  readonly url: string;
  readonly password?: string | undefined;
}

/** Give the URL as the client of PostgreSQL takes it. */
export const wholeUrl = ({ url, password }: Login): string => {
  const whole = new URL(url);
  // A password beside a URL without one is ignored.
  if (password !== undefined) whole.password = password;
  // It takes them so, and warns of it.
  const isTaken = ["require", "prefer", "verify-ca"].includes(whole.searchParams.get("sslmode") ?? "");
  if (isTaken && whole.searchParams.get("uselibpqcompat") !== "true") {
    whole.searchParams.set("sslmode", "verify-full");
  }
  return whole.href;
};

/** The parts of a client that its types do not tell. */
interface Inside {
  password: string | null | undefined | ((login: PasswordFile.Login) => Promise<string | undefined>);
  readonly connectionParameters: Pg.ClientConfig;
}

/** Make a client of `pg`, which looks its password up where it was given none. Throws such as for a file that is not there. */
export const clientOf = (Client: typeof Pg.Client, login: Login, config: Pg.ClientConfig): Pg.Client => {
  const client = new Client({
    connectionString: wholeUrl(login),
    application_name: "monocloud-sessions",
    keepAlive: true,
    // A server that is gone for good is noticed while nothing is sent.
    keepAliveInitialDelayMillis: 10_000,
    ...config,
  });
  // As an option it would be overruled by the URL, which has none.
  (client as unknown as Inside).password ??= PasswordFile.read;
  return client;
};

/** Give what makes such clients, as a pool does: all that the URL says, and none of its text. */
export const configOf = (
  Client: typeof Pg.Client,
  login: Login,
  config: Pg.ClientConfig = {},
): Pg.ClientConfig => {
  const { connectionParameters, password } = clientOf(Client, login, config) as unknown as Inside;
  return {
    ...connectionParameters,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    ...config,
    password: password as Exclude<Pg.ClientConfig["password"], undefined>,
  };
};
