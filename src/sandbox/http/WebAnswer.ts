/** Answers as web responses, broken ones included. */
import type { Answer } from "./Endpoint.ts";

const encoder = new TextEncoder();

/** Gives the bytes of an answer that arrive when half of them do. */
export const half = ({ body }: Answer): { readonly bytes: Uint8Array<ArrayBuffer>; readonly of: number } => {
  const bytes = encoder.encode(body);
  return { bytes: bytes.slice(0, bytes.length >> 1), of: bytes.length };
};

/** Makes a body that delivers its bytes, if any, and then fails as a broken connection does. */
const breaking = (bytes: Uint8Array<ArrayBuffer> | undefined): ReadableStream<Uint8Array<ArrayBuffer>> => {
  let left = bytes;
  return new ReadableStream({
    // An error drops what is queued: it has to wait until the bytes were taken, hence no read-ahead.
    pull(controller) {
      if (left === undefined) return controller.error(new TypeError("The sandbox broke the connection"));
      if (left.length > 0) controller.enqueue(left);
      else controller.error(new TypeError("The sandbox broke the connection"));
      left = undefined;
    },
  }, { highWaterMark: 0 });
};

export const response = (answer: Answer): Response => {
  const { status, headers, body, broken } = answer;
  if (broken === undefined) return new Response(body, { status, headers });
  if (broken === "reset") return new Response(breaking(undefined), { status, headers });
  const { bytes, of } = half(answer);
  return broken === "truncated"
    ? new Response(bytes, { status, headers })
    : new Response(breaking(bytes), { status, headers: { ...headers, "content-length": String(of) } });
};
