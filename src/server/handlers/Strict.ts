/**
 * Refuses of a request what its route does not know. A parameter that is misspelt would be as if it were not there, and so
 * would a body that nobody reads.
 *
 * @module
 */
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpRouter from "@effect/platform/HttpRouter";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as Options from "../../options/Options.ts";
import * as Problem from "../Problem.ts";
import * as Api from "./Api.ts";

/** Parameters of a route beside its path. */
interface Known {
  readonly parameters: ReadonlyArray<string>;
  readonly body: boolean;
}

const nothing: Known = { parameters: [], body: false };

const namesIn = (schema: Schema.Schema.All): ReadonlyArray<string> => {
  const { ast } = Schema.encodedSchema(schema as Schema.Schema.Any);
  return ast._tag === "TypeLiteral" ? ast.propertySignatures.map(({ name }) => String(name)) : [];
};

/** Parameters of each route, by its method and its path. */
const known: ReadonlyMap<string, Known> = (() => {
  const found = new Map<string, Known>();
  HttpApi.reflect(Api.Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      const { method, path, urlParamsSchema, payloadSchema } = endpoint;
      found.set(`${method} ${path}`, {
        parameters: Option.match(urlParamsSchema, { onNone: () => [], onSome: namesIn }),
        body: Option.isSome(payloadSchema),
      });
    },
  });
  return found;
})();

const flawOf = ({ url, headers }: HttpServerRequest.HttpServerRequest, { parameters, body }: Known) => {
  const seen = new Set<string>();
  for (const name of new URL(url, "http://worker").searchParams.keys()) {
    if (!parameters.includes(name)) return Options.unknown("parameter", name, parameters);
    if (seen.has(name)) return `the parameter ${name} is there twice`;
    seen.add(name);
  }
  return !body && Number(headers["content-length"] ?? 0) > 0 ? "it takes no body" : undefined;
};

/** Fails if a request has more than its route knows: routes that the API does not describe take nothing. */
export const check = Effect.flatMap(
  Effect.all([HttpServerRequest.HttpServerRequest, HttpRouter.RouteContext]),
  ([request, { route: { method, path } }]) => {
    const flaw = flawOf(request, known.get(`${method} ${path}`) ?? nothing);
    return flaw === undefined
      ? Effect.void
      : Effect.fail(Problem.make("invalid-request", `The request can't be followed: ${flaw}`));
  },
);

export const layer: Layer.Layer<Api.Strict> = Layer.succeed(Api.Strict, check);
