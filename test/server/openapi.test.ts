/** The description of the API: each route says in plain words what it does, and shows it. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiClient from "@effect/platform/HttpApiClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import * as OpenApi from "@effect/platform/OpenApi";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import { describe, expect, it } from "vitest";
import { sentencesOf, wordsOf } from "../../docs/prose.ts";
import { Api } from "../../src/server/handlers/Api.ts";
import * as Problem from "../../src/server/Problem.ts";
import { tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { bothRuntimes, ended, serve, token } from "./serving.ts";

interface Shape {
  readonly $ref?: string;
  readonly examples?: ReadonlyArray<unknown>;
}

type Content = Readonly<Record<string, { readonly schema: Shape }>>;

interface Operation {
  readonly summary: string;
  readonly description: string;
  readonly parameters: ReadonlyArray<{ readonly in: string; readonly description?: string }>;
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}

interface Document {
  readonly info: { readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Shape>> };
}

/** The schemas of each route, by its method and its path as the document has it. */
const schemas = new Map<string, { request: Option.Option<Schema.Schema.All>; success: Schema.Schema.All }>();
HttpApi.reflect(Api, {
  onGroup: () => {},
  onEndpoint: ({ endpoint: { method, path, payloadSchema, successSchema } }) => {
    const name = `${method.toLowerCase()} ${path.replace(/:(\w+)/g, "{$1}")}`;
    schemas.set(name, { request: payloadSchema, success: successSchema });
  },
});

const document = JSON.parse(JSON.stringify(OpenApi.fromApi(Api))) as Document;

const decode = (schema: Schema.Schema.All, example: unknown) =>
  Schema.decodeUnknownSync(schema as Schema.Schema.AnyNoContext, { onExcessProperty: "error" })(example);

describe("the API", () => {
  const { paths, components, info } = document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, operation }))
  );
  const examplesOf = (content: Content) =>
    Object.values(content).flatMap(({ schema: { $ref, examples = [] } }) => [
      ...examples,
      ...components.schemas[$ref?.split("/").at(-1) ?? ""]?.examples ?? [],
    ]);

  it("describes every route there is", () => {
    expect(operations.map(({ name }) => name).sort()).toEqual([...schemas.keys()].sort());
  });

  it.each(operations)("$name has examples that its own schemas read", ({ name, operation }) => {
    const { request, success } = schemas.get(name)!;
    expect(operation.requestBody !== undefined).toBe(Option.isSome(request));
    if (operation.requestBody !== undefined) {
      const examples = examplesOf(operation.requestBody.content);
      expect(examples.length).toBeGreaterThan(0);
      for (const example of examples) decode(Option.getOrThrow(request), example);
    }
    const isError = (status: string) => Number(status) >= 400;
    for (const [status, { content }] of Object.entries(operation.responses)) {
      if (status === "204") continue;
      const [type = ""] = Object.keys(content!);
      const examples = examplesOf(content!);
      expect([status, examples.length > 0]).toEqual([status, true]);
      expect([status, type === Problem.contentType]).toEqual([status, isError(status)]);
      for (const example of examples) {
        if (isError(status)) expect(String(decode(Problem.Problem, example).status)).toBe(status);
        // Bytes and texts are shown as text.
        else if (type === "application/json" && typeof example !== "string") decode(success, example);
        else expect(example).toMatch(/\S/);
      }
    }
    for (const status of ["400", "403", "500"]) expect(operation.responses).toHaveProperty(status);
  });

  it.each(operations)("$name says what it does in short sentences", ({ operation }) => {
    const { summary, description, parameters, responses } = operation;
    expect(summary).toMatch(/^[A-Z][^.]+$/);
    expect(wordsOf(summary)).toBeLessThan(9);
    const texts = [
      description,
      ...parameters.filter((parameter) => parameter.in === "query").map(({ description }) =>
        description ?? ""
      ),
      ...Object.values(responses).map(({ description }) => description),
    ];
    for (const text of texts) {
      expect(text).toMatch(/^[A-Z`].*\.$/);
      for (const sentence of sentencesOf(text).prose) {
        expect([sentence, wordsOf(sentence) <= 20]).toEqual([sentence, true]);
      }
    }
  });

  it("is told of in short sentences", () => {
    for (const sentence of sentencesOf(info.description).prose) expect(wordsOf(sentence)).toBeLessThan(20);
  });
});

it.each(bothRuntimes)(
  "the server on %s gives this document, and tells what each metric is",
  async (runtime) => {
    const { env } = await tenant();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    expect(await (await server.ask("/openapi.json")).json()).toEqual(document);
    const metrics = await (await server.ask("/metrics")).text();
    const helps = [...metrics.matchAll(/^# HELP (\w+) (.*)$/gm)];
    const types = [...metrics.matchAll(/^# TYPE (\w+) /gm)];
    expect(helps.map(([, name]) => name)).toEqual(types.map(([, name]) => name));
    for (const [, name, text = ""] of helps) {
      expect([name, text]).toEqual([name, expect.stringMatching(/^[A-Z][^.]+\.$/)]);
      expect(wordsOf(text)).toBeLessThan(20);
    }
  },
);

it("a client that is made of it starts, finds and removes exports, and gets problems by their type", async () => {
  const { env } = await tenant();
  const server = await serve("Node", { ...env, WORKER_FOLDER: await newFolder() });
  const client = await Effect.runPromise(
    HttpApiClient.make(Api, {
      baseUrl: server.url,
      transformClient: HttpClient.mapRequest(HttpClientRequest.bearerToken(token)),
    }).pipe(Effect.provide(FetchHttpClient.layer)),
  );
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect);
  const { id } = await run(client.exports.start({ payload: { users: "all", formats: ["csv"] } }));
  await ended(server, id, "done");
  expect(await run(client.exports.list({ urlParams: {} }))).toMatchObject([{ id, status: "done" }]);
  const remove = (expect: "open" | "ended") =>
    run(Effect.either(client.exports.delete({ path: { id }, urlParams: { expect } })));
  expect(await remove("open")).toMatchObject({ left: { type: "urn:monocloud-sessions:problem:conflict" } });
  expect(await remove("ended")).toMatchObject({ _tag: "Right", right: undefined });
  expect(await remove("ended")).toMatchObject({ left: { type: "urn:monocloud-sessions:problem:not-found" } });
});
