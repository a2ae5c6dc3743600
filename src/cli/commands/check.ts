/** `monocloud-sessions check`. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as SessionFilters from "../../api/SessionFilters.ts";
import type { ApiError } from "../../api/ApiError.ts";
import type * as TenantClientTypes from "../../api/TenantClient.ts";
import type { Scanned } from "../../scan/PageScanner.ts";
import { FIRST } from "../../source/paging/PageSizes.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import * as Flag from "../options/Flag.ts";
import * as Settings from "../options/Settings.ts";
import * as Shared from "../options/SharedFlags.ts";
import * as Terminal from "../ui/Terminal.ts";

const subject = {
  user: Flag.text({
    name: "user",
    placeholder: "ID",
    text: "Look at the sessions of this user.",
    byDefault: "at the list of users",
  }),
  ...Shared.filters,
};

const speed = { rate: Shared.rate, pageSize: Shared.pageSize, maxElapsed: Shared.maxElapsed("30s") };

const flags = { ...subject, ...speed, ...Shared.connection, ...Shared.talking };

export const spec: CommandSpec = {
  name: "check",
  summary: "Ask the tenant once: are domain and key good, how much is there, how long would an export take?",
  interrupted: "the tenant has not answered to the end",
  groups: [
    { title: "What to look at", flags: subject },
    { title: "How fast", flags: speed },
    { title: "Connection", flags: Shared.connection },
    { title: "Reports", flags: Shared.talking },
  ],
  examples: [
    ["check", "How many users are there?"],
    ["check --user ID", "How many sessions does this user have?"],
  ],
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
export const command = Command.make(spec, flags, (args) =>
  Effect.gen(function* () {
    // Loaded once it runs: help has no need of it.
    const TenantClient = yield* Effect.promise(() => import("../../api/TenantClient.ts"));
    const { tenantLayer } = yield* Effect.promise(() => import("./tenantLayer.ts"));
    const SessionsApi = yield* Effect.promise(() => import("../../api/SessionsApi.ts"));
    const UsersApi = yield* Effect.promise(() => import("../../api/UsersApi.ts"));
    const tenant = yield* Settings.tenantFrom(args);
    const { rate, user } = args;
    const size = args.pageSize === "auto" ? FIRST : args.pageSize;
    const ask: Effect.Effect<
      TenantClientTypes.Page<ReadonlyArray<unknown> | Scanned>,
      ApiError,
      TenantClientTypes.TenantClient
    > = user === undefined
      ? UsersApi.page({ page: 1, size })
      : SessionsApi.page(user, { page: 1, size, ...SessionFilters.pick(args), sort: "initiated_at:-1" });

    const began = yield* Clock.currentTimeMillis;
    const { rows, pagination } = yield* Effect.flatMap(
      TenantClient.TenantClient,
      ({ traffic }) =>
        args.quiet ? ask : ProgressBar.showing(
          ask,
          (began, now, width) => waiting(tenant.origin, traffic(), (now - began) / 1000, now).slice(0, width),
        ),
    ).pipe(
      Effect.provide(tenantLayer(tenant, { rate, maxElapsed: args.maxElapsed }, args.verbose)),
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
      : Math.max(1, Math.ceil(total / given)) + (user === undefined ? total : 0);
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
  }));
