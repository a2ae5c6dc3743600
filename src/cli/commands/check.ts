/**
 * `monocloud-sessions check`.
 *
 * @module
 */
import * as Command from "@effect/cli/Command";
import * as Options from "@effect/cli/Options";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Option from "effect/Option";
import type { ApiError } from "../../api/ApiError.ts";
import type * as TenantClientTypes from "../../api/TenantClient.ts";
import type { Scanned } from "../../scan/PageScanner.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Settings from "../options/Settings.ts";
import * as Terminal from "../ui/Terminal.ts";

const options = {
  user: Options.text("user").pipe(
    Options.withPseudoName("ID"),
    Options.withDescription("Look at the sessions of this user. Left out: at the list of users."),
    Options.optional,
  ),
  domain: Settings.domain,
  apiKeyFile: Settings.apiKeyFile,
  ...Settings.filters,
  pageSize: Settings.pageSize,
  rate: Settings.rate,
  maxElapsed: Settings.patience("30s"),
  json: Options.boolean("json").pipe(Options.withDescription("Print the result as one JSON object.")),
};

/** One line that says what is waited for, and since when. */
const waiting = (
  origin: string,
  traffic: TenantClientTypes.Traffic,
  seconds: number,
  now: number,
): string => {
  const { retries, lastFailure, heldUntil } = traffic;
  return [
    `Waiting for ${origin} to answer`,
    ProgressBar.duration(seconds),
    ...(heldUntil > now ? [`held for ${Math.ceil((heldUntil - now) / 1000)}s by the tenant`] : []),
    ...(retries === 0 ? [] : [ProgressBar.plural(retries, "retry")]),
    ...(lastFailure === undefined ? [] : [`last failure: ${lastFailure}`]),
  ].join(", ");
};

/** The command. It makes one request, again where that fails and may not the next time. */
export const command = Command.make("check", options, (args) =>
  Effect.gen(function* () {
    // Loaded once it runs: help has no need of it.
    const TenantClient = yield* Effect.promise(() => import("../../api/TenantClient.ts"));
    const Platform = yield* Effect.promise(() => import("../../api/transport/Platform.ts"));
    const SessionsApi = yield* Effect.promise(() => import("../../api/SessionsApi.ts"));
    const UsersApi = yield* Effect.promise(() => import("../../api/UsersApi.ts"));
    const tenant = yield* Settings.tenantFrom(args);
    const { pageSize: size, rate } = args;
    const user = Option.getOrUndefined(args.user);
    const ask: Effect.Effect<
      TenantClientTypes.Page<ReadonlyArray<unknown> | Scanned>,
      ApiError,
      TenantClientTypes.TenantClient
    > = user === undefined
      ? UsersApi.page({ page: 1, size })
      : SessionsApi.page(user, { page: 1, size, ...Settings.filtersFrom(args), sort: "initiated_at:-1" });

    const began = yield* Clock.currentTimeMillis;
    const { rows, pagination } = yield* Effect.flatMap(
      TenantClient.TenantClient,
      ({ traffic }) =>
        ProgressBar.showing(ask, (began, now, width) =>
          waiting(tenant.origin, traffic(), (now - began) / 1000, now).slice(0, width)),
    ).pipe(
      Effect.provide(Layer.provide(
        TenantClient.layerOf(tenant, { rate, maxElapsed: args.maxElapsed }),
        Platform.transport,
      )),
    );
    const count = "slices" in rows ? rows.slices.from.length : rows.length;
    const milliseconds = (yield* Clock.currentTimeMillis) - began;

    const what = user === undefined ? "users" : "sessions";
    const isAll = pagination === undefined ? count < Math.min(size, 10) : !pagination.hasNext;
    const total = pagination?.total ?? (isAll ? count : undefined);
    const given = pagination?.pageSize ?? Math.max(1, count);
    // Users are exported with one request each at the least, and their own list has to be read as well.
    const requests = total === undefined
      ? undefined
      : Math.ceil(total / given) + (user === undefined ? total : 0);
    // How long a rate takes that is yet to be found, nobody knows.
    const seconds = requests === undefined || rate === "auto" ? undefined : requests / rate;
    if (args.json) {
      const result = {
        tenant: tenant.origin,
        user,
        [what]: total,
        pageSize: given,
        milliseconds,
        requests,
        seconds,
      };
      return yield* Terminal.print([Terminal.printableJson(result)]);
    }
    yield* Terminal.print([
      `${tenant.origin} answers and accepts the key (${milliseconds} ms).`,
      total === undefined
        ? `There are ${count} ${what} or more: the tenant does not say how many.`
        : `There are ${total.toLocaleString("en-US")} ${what}${user === undefined ? "" : ` of ${user}`}.`,
      ...(given < size && pagination !== undefined ? [`The tenant gives at most ${given} a page.`] : []),
      ...(requests === undefined ? [] : [
        `An export takes ${user === undefined ? "at least" : "about"} ` +
        `${ProgressBar.plural(requests, "request")}${
          rate === "auto" || seconds === undefined
            ? ""
            : `: ${ProgressBar.duration(Math.max(seconds, 1))} at ${ProgressBar.perSecond(rate)}`
        }.`,
      ]),
    ].map(Terminal.printable));
  })).pipe(
    Command.withDescription(
      "One request, again while it fails: are domain, key and user good, how much is there, how long would an export take?",
    ),
  );
