/** The surface of MonoCloud's API that the sandbox imitates: its paths, parameters, and problem bodies. */
import type { PageRequest } from "../data/Pages.ts";

/** A whole answer, before it becomes a Response or goes down a socket. */
export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The part that arrives, when not all: nothing, or the first half with or without a broken connection. */
  readonly broken?: "reset" | "cut" | "truncated";
}

/** A resource that a path leads to. */
export type Route =
  | { readonly kind: "users" }
  | { readonly kind: "user"; readonly userId: string }
  | { readonly kind: "sessions"; readonly userId: string };

/** Messages by parameter, as a 422 carries them. */
export type Errors = Readonly<Record<string, readonly string[]>>;

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  404: "Not Found",
  405: "Method Not Allowed",
  422: "Unprocessable Entity",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Makes an answer with a problem body. */
export const problem = (
  status: number,
  path: string,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
  errors?: Errors,
): Answer => ({
  status,
  headers: { "content-type": "application/problem+json", ...headers },
  body: JSON.stringify({
    type: `https://httpstatuses.io/${status}${errors === undefined ? "" : "#validation-error"}`,
    title: titles[status],
    status,
    detail,
    instance: path,
    ...(errors === undefined ? {} : { errors }),
  }),
});

/** Makes an answer with a page for people, as gateways and captive networks give. */
export const page = (status: number, title: string): Answer => ({
  status,
  headers: { "content-type": "text/html" },
  body: `<!doctype html>\n<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`,
});

/** Splits the target of a request, `/path?query` or a whole URL, without the normalisation that would hide `..`. */
export const split = (target: string): readonly [path: string, query: string] => {
  const local = target.startsWith("/") ? target : target.replace(/^[a-z]+:\/\/[^/?#]*/i, "");
  const bare = local.replace(/#.*/, "");
  const mark = bare.indexOf("?");
  return mark === -1 ? [bare, ""] : [bare.slice(0, mark), bare.slice(mark + 1)];
};

/** Finds the resource that a path leads to; undefined for a path that leads nowhere or can't be decoded. */
export const route = (path: string): Route | undefined => {
  const [root, api, users, user, sessions, ...more] = path.split("/");
  if (root !== "" || api !== "api" || users !== "users" || more.length > 0) return undefined;
  if (user === undefined) return { kind: "users" };
  const userId = segment(user);
  if (userId === undefined) return undefined;
  if (sessions === undefined) return { kind: "user", userId };
  return sessions === "sessions" ? { kind: "sessions", userId } : undefined;
};

const segment = (encoded: string): string | undefined => {
  try {
    const id = decodeURIComponent(encoded);
    return id === "" || id === "." || id === ".." ? undefined : id;
  } catch {
    return undefined;
  }
};

/** Reads `page`, `size` and `sort`. The first key is the one sorted by when nothing is asked. */
export const pageRequest = <Key extends string>(
  query: URLSearchParams,
  keys: readonly [Key, ...Key[]],
): { readonly request: PageRequest & { readonly key: Key } } | { readonly errors: Errors } => {
  const errors: Record<string, string[]> = {};
  const count = (name: string, byDefault: number): number => {
    const text = query.get(name);
    if (text === null) return byDefault;
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (value < 1) errors[name] = [`'${name}' must be an integer of at least 1: found '${text}'.`];
    return value;
  };
  const page = count("page", 1);
  const size = count("size", 10);
  const sort = query.get("sort") ?? `${keys[0]}:1`;
  const [name, order, ...more] = sort.split(":");
  const key = keys.find((key) => key === name);
  if (key === undefined || (order !== "1" && order !== "-1") || more.length > 0) {
    const known = keys.map((key) => `'${key}'`).join(", ");
    errors["sort"] = [`'sort' must be one of ${known} with ':1' or ':-1': found '${sort}'.`];
  }
  if (key === undefined || Object.keys(errors).length > 0) return { errors };
  return { request: { page, size, key, descending: order === "-1" } };
};
