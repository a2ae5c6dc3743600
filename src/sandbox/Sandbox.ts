/**
 * A tenant to try, test and measure against: MonoCloud's list endpoints over generated sessions, with faults on request, in
 * the same process and from web standards alone.
 */
import * as Active from "./data/Active.ts";
import * as Responses from "./http/Responses.ts";
import * as Churn from "./faults/Churn.ts";
import { type Answer, page, problem, route, split } from "./http/Endpoint.ts";
import * as Faults from "./faults/Faults.ts";
import * as People from "./data/People.ts";
import * as Population from "./data/Population.ts";
import * as TokenBucket from "./faults/TokenBucket.ts";
import { response } from "./http/WebAnswer.ts";

/** Options of a sandbox: what it holds and how it behaves. */
export interface SandboxOptions extends Population.PopulationOptions, Responses.AnswerOptions {
  /** The value that `X-API-KEY` must have. @default {"sandbox-key"} */
  readonly key?: string;
  /** Faults to make. @default {none} */
  readonly faults?: Faults.FaultOptions;
  /**
   * The clock by which sessions are added and used, in seconds since the epoch. When given, it also sets the default of
   * `until`. @default {`until`, and a second more for each sign-in and each use}
   */
  readonly now?: () => number;
}

/** A request as the sandbox needs it, from whatever server. */
export interface PlainRequest {
  readonly method: string;
  /** Path and query, encoded as they came. */
  readonly target: string;
  /** The value of `X-API-KEY`. */
  readonly key: string | null | undefined;
  /** Ends the waiting of a slow answer: the promise rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** Requests answered so far. */
export interface Counts {
  readonly total: number;
  /** By status, those without one (resets) left out. */
  readonly byStatus: Readonly<Record<number, number>>;
  readonly byFault: Readonly<Partial<Record<Faults.FaultName, number>>>;
}

/**
 * A running tenant. It holds what was changed since it was made, and the orders of lists sorted lately (4 MB, or the last
 * one if longer); sessions do not expire by themselves.
 */
export interface Sandbox {
  /**
   * Answers a request whatever its host. A handler for `Deno.serve` as it is, and for a client in this process
   * `(input, init) => sandbox.fetch(new Request(input, init))`.
   */
  readonly fetch: (request: Request) => Promise<Response>;
  /**
   * Answers a plain request, as `fetch` and `serve` do: a promise only when the answer is late. Fails with the reason of the
   * signal, or with what `beforeAnswer` throws.
   */
  readonly answer: (request: PlainRequest) => Answer | Promise<Answer>;
  /** The value that `X-API-KEY` must have. */
  readonly key: string;
  /** The clients that sessions may name. */
  readonly clientIds: readonly string[];
  /** Requests answered so far. */
  readonly counts: Counts;
  /** The ids of all users, in order of `creation_time`. */
  readonly userIds: () => Iterable<string>;
  /** The user's present sessions in ascending order of `initiated_at`. Throws a RangeError for an unknown user. */
  readonly sessions: (userId: string) => Iterable<Population.SandboxSession>;
  /** The number of sessions that the user has at present. */
  readonly sessionCount: (userId: string) => number;
  /** Signs the user in now, or at the `initiated_at` given: before or between earlier sessions if need be. */
  readonly add: (userId: string, session?: Partial<Population.SandboxSession>) => Population.SandboxSession;
  /** Ends a session; false when there is none. */
  readonly remove: (userId: string, sessionId: string) => boolean;
  /** Uses a session, which sets its `last_updated` to now; false when there is none. */
  readonly update: (userId: string, sessionId: string) => boolean;
}

/**
 * Makes a tenant. The same options give the same answers, byte for byte, to the same requests in the same order.
 *
 * @throws RangeError for an option out of range: it names the option, what is required and what was found.
 *
 * @example
 * ```ts
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 3, sessionsPerUser: 25, faults: { "503": 0.1 } });
 * const [userId] = sandbox.userIds();
 * const response = await sandbox.fetch(
 *   new Request(`https://sandbox.test/api/users/${userId}/sessions?page=3&sort=initiated_at:1`, {
 *     headers: { "X-API-KEY": sandbox.key },
 *   }),
 * );
 * if (response.ok) console.assert((await response.json()).length === 5);
 * ```
 */
export const make = (options: SandboxOptions = {}): Sandbox => {
  const { key = "sandbox-key", now: clock, faults = {} } = options;
  const until = options.until ?? (clock === undefined ? undefined : Math.floor(clock()));
  const population = Population.make(until === undefined ? options : { ...options, until });
  const active = Active.make(population);

  let ticks = 0;
  const now = (): number => clock === undefined ? population.until + ++ticks : Math.floor(clock());
  const churn = faults.churn === undefined
    ? () => {}
    : Churn.make(faults.churn, active, population.seed, now);
  const healthy = Responses.make(
    { population, active, people: People.make(population, active), churn },
    options,
  );
  const judge = Faults.make(faults, population.seed);
  const takeToken = faults.rateLimit === undefined ? () => 0 : TokenBucket.make(faults.rateLimit);

  let total = 0;
  const byStatus: Record<number, number> = {};
  const byFault: Partial<Record<Faults.FaultName, number>> = {};

  const count = (answer: Answer, fault?: Faults.FaultName): Answer => {
    total++;
    if (answer.broken !== "reset") byStatus[answer.status] = (byStatus[answer.status] ?? 0) + 1;
    if (fault !== undefined) byFault[fault] = (byFault[fault] ?? 0) + 1;
    return answer;
  };

  const answer = (request: PlainRequest): Answer | Promise<Answer> => {
    const [path, query] = split(request.target);
    // The wrong key and the wrong path are the caller's mistakes: no fault stands in the way of saying so.
    if (request.key !== key) return count(problem(401, path, "The API key is missing or not valid."));
    const to = route(path);
    if (to === undefined) return count(problem(404, path, "There is nothing here."));
    if (request.method !== "GET") {
      return count(problem(405, path, "Only GET is answered here.", { allow: "GET" }));
    }

    // Without the host, so that the same faults come in this process and over HTTP.
    const fate = judge(`${path}?${query}`);
    const wait = takeToken();
    const fault = fate.fault ?? (wait > 0 ? "429" : undefined);
    const settle = (): Answer => {
      const comeBack = fault === "429" || fault === "503" ? fate.retryAfter(wait) : undefined;
      const failed = fault === undefined ? undefined : failure(fault, path, comeBack);
      if (failed !== undefined) return count(failed, fault);
      const whole = healthy(to, path, new URLSearchParams(query));
      return count(fault === "cut" || fault === "truncated" ? { ...whole, broken: fault } : whole, fault);
    };
    return fate.waitMs === 0 ? settle() : later(fate.waitMs, request.signal).then(settle);
  };

  const known = (userId: string): number => {
    const user = population.userOf(userId);
    if (user === undefined) throw new RangeError(`The sandbox has no user ${JSON.stringify(userId)}`);
    return user;
  };

  return {
    answer,
    async fetch(request) {
      return response(
        await answer({
          method: request.method,
          target: request.url,
          key: request.headers.get("x-api-key"),
          // Read only by an answer that waits: a look at the signal has a price, and under Deno a warning.
          get signal() {
            return request.signal;
          },
        }),
      );
    },
    key,
    clientIds: population.clientIds,
    get counts() {
      return { total, byStatus: { ...byStatus }, byFault: { ...byFault } };
    },
    *userIds() {
      for (let user = 0; user < population.users; user++) yield population.userId(user);
    },
    sessions: (userId) => active.all(known(userId)),
    sessionCount: (userId) => active.count(known(userId)),
    add: (userId, session = {}) => active.add(known(userId), now(), session),
    remove: (userId, sessionId) => active.remove(known(userId), sessionId),
    update: (userId, sessionId) => active.update(known(userId), sessionId, now()),
  };
};

const failure = (fault: Faults.FaultName, path: string, comeBack: string | undefined): Answer | undefined => {
  const headers = comeBack === undefined ? {} : { "retry-after": comeBack };
  if (fault === "429") return problem(429, path, "Too many requests.", headers);
  if (fault === "500") return problem(500, path, "Something went wrong.");
  if (fault === "502") return page(502, "502 Bad Gateway");
  if (fault === "503") return problem(503, path, "Not available at present.", headers);
  if (fault === "html") return page(200, "Please wait");
  if (fault === "reset") return { status: 200, headers: {}, body: "", broken: "reset" };
  return undefined;
};

const later = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
