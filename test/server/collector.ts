/** A collector of traces: what it was sent, and the spans in that. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string };
}

export interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes: ReadonlyArray<Attribute>;
  readonly events: ReadonlyArray<unknown>;
  readonly status: { readonly code: number; readonly message?: string };
}

/** The attributes of a span, or of what sent it. */
export const valuesOf = (attributes: ReadonlyArray<Attribute>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue } }) => [key, stringValue ?? String(intValue)]),
  );

interface Sent {
  readonly resource: { readonly attributes: ReadonlyArray<Attribute> };
  readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>;
}

/** The spans in all that was sent, each with the attributes of what sent it. */
export const sentIn = (bodies: ReadonlyArray<string>) =>
  bodies.flatMap((body) =>
    (JSON.parse(body.slice(body.indexOf("{"))).resourceSpans as ReadonlyArray<Sent>).flatMap(
      ({ resource, scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) =>
          spans.map((span) => ({ ...span, from: valuesOf(resource.attributes) }))
        ),
    )
  );

export const spansIn: (bodies: ReadonlyArray<string>) => ReadonlyArray<Span> = sentIn;

export const collector = async () => {
  const bodies: Array<string> = [];
  const server = createServer(async (request, response) => {
    bodies.push(`${request.url} ${Buffer.concat(await request.toArray())}`);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { bodies, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
};
