/**
 * The router: what is noted of each request, and what is answered where no route has its method or its path.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpMethod from "@effect/platform/HttpMethod";
import * as HttpRouter from "@effect/platform/HttpRouter";
import * as Effect from "effect/Effect";
import * as Problem from "../Problem.ts";
import * as RequestLog from "../telemetry/RequestLog.ts";
import * as Responses from "./Responses.ts";

/** Makes, for each path, a route for every method that the path has none for: it names those that there are. */
const otherMethods = (routes: Iterable<Pick<HttpRouter.Route<unknown, unknown>, "method" | "path">>) => {
  const methods = new Map<HttpRouter.PathInput, ReadonlySet<string>>();
  for (const { method, path } of routes) methods.set(path, new Set([...methods.get(path) ?? [], method]));
  return [...methods].flatMap(([path, known]) => {
    const allowed = [...known].sort();
    const refused = Problem.answer("method-not-allowed", `Use ${allowed.join(" or ")}`, {
      allow: allowed.join(", "),
    });
    return [...HttpMethod.all]
      // The router takes HEAD for GET.
      .filter((method) => !known.has(method === "HEAD" && known.has("GET") ? "GET" : method))
      .map((method) => HttpRouter.makeRoute(method, path, Effect.succeed(refused)));
  });
};

/** Makes the app of all routes: whatever goes wrong is a problem document. */
export const app = Effect.gen(function* () {
  const { routes } = yield* HttpApiBuilder.Router.router;
  const all = HttpRouter.fromIterable([...routes, ...otherMethods(routes)]);
  const noted = HttpRouter.use(all, (handler) =>
    Effect.zipRight(
      Effect.flatMap(HttpRouter.RouteContext, ({ route }) => RequestLog.noteRoute(route.path)),
      handler,
    ));
  return Effect.catchAllCause(yield* HttpRouter.toHttpApp(noted), Responses.ofCause);
});
