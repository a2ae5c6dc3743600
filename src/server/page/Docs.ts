/**
 * The description of the API: `/openapi.json`, and a page of it at `/docs`. Both are open to all as the server's page is: they
 * tell nothing of the tenant.
 *
 * The page brings its script and its style along, in the text. So its policy allows these two by their hashes, and no other.
 *
 * @module
 */
import { createHash } from "node:crypto";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpApp from "@effect/platform/HttpApp";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as OpenApi from "@effect/platform/OpenApi";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Api from "../handlers/Api.ts";
import * as Headers from "../Headers.ts";
import * as Strict from "../handlers/Strict.ts";

const hashesOf = (html: string, tag: "script" | "style"): string =>
  [...html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, "gs"))]
    .map(([, text = ""]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`).join(" ");

/** The page as the platform makes it. It has 2 MB, which are loaded when somebody asks for it. */
const swagger = Effect.gen(function* () {
  const { routes } = yield* HttpApiBuilder.Router.router;
  const [route] = [...routes];
  const made = yield* route!.handler as HttpApp.Default<never>;
  return made.body._tag === "Uint8Array" ? new Uint8Array(made.body.body) : yield* Effect.die(made);
}).pipe(Effect.provide(
  Layer.unwrapEffect(
    Effect.map(
      Effect.promise(() => import("@effect/platform/HttpApiSwagger")),
      (HttpApiSwagger) => HttpApiSwagger.layer(),
    ),
  ).pipe(
    Layer.provideMerge(HttpApiBuilder.Router.Live),
    Layer.provide(Layer.succeed(HttpApi.Api, { api: Api.Api as never, context: Context.empty() })),
  ),
));

const page = Effect.map(swagger as Effect.Effect<Uint8Array<ArrayBuffer>>, (html) => {
  const text = new TextDecoder().decode(html);
  const headers = Headers.forPage({
    script: hashesOf(text, "script"),
    // What the page looks like is set by its script as well.
    style: "'unsafe-inline'",
  });
  return HttpServerResponse.uint8Array(html, { contentType: "text/html; charset=utf-8", headers });
});

/** The two routes. */
export const layer = HttpApiBuilder.Router.use((router) =>
  Effect.gen(function* () {
    const docs = yield* Effect.cached(page);
    const document = HttpServerResponse.unsafeJson(OpenApi.fromApi(Api.Api), {
      headers: Headers.forPage({}),
    });
    yield* router.get("/docs", Effect.zipRight(Strict.check, docs));
    yield* router.get("/openapi.json", Effect.as(Strict.check, document));
  })
).pipe(Layer.provide(HttpApiBuilder.Router.Live));
