/** Every way that requests can travel. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as Layer from "effect/Layer";
import * as Transport from "../../../src/api/transport/Transport.ts";
import * as Undici from "../../../src/api/transport/Undici.ts";

/** By name. */
export const transports: ReadonlyArray<readonly [string, Layer.Layer<Transport.Transport>]> = [
  ["fetch", Transport.fetch()],
  ["an HttpClient", Layer.provide(Transport.httpClient, FetchHttpClient.layer)],
  ["undici", Undici.layer],
];
