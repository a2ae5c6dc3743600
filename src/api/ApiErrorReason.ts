/** The reasons of an {@link ApiError}, as a type that names no library. */

/**
 * The reason why a request failed for good.
 *
 * - `Unauthorized` (401): the API key was refused. `Forbidden` (403): it may not read this. `PaymentRequired` (402): the
 *   tenant's plan lacks session management.
 * - `NotFound` (404): there is no such thing, or no MonoCloud tenant. `BadRequest` (400), `Unprocessable` (422): the tenant
 *   did not accept a parameter. `Conflict` (409): the tenant contradicts itself.
 * - `RateLimited` (429), `ServerError` (5xx), `Timeout`: it stayed so until retries were used up.
 * - `UnknownHost`, `Certificate`, `Proxy`, `Transport`: the connection failed.
 * - `WebPage`, `ContentType`, `Redirect`, `NotModified`, `UnexpectedStatus`: something other than the API answered.
 * - `Body`: the answer was cut off or is no JSON. `TooLarge`: it exceeds `maxBodyBytes`. `InvalidRequest`: it was not sent.
 */
export type ApiErrorReason =
  | "InvalidRequest"
  | "BadRequest"
  | "Unauthorized"
  | "PaymentRequired"
  | "Forbidden"
  | "NotFound"
  | "Conflict"
  | "Unprocessable"
  | "RateLimited"
  | "ServerError"
  | "Redirect"
  | "NotModified"
  | "UnexpectedStatus"
  | "UnknownHost"
  | "Certificate"
  | "Proxy"
  | "Transport"
  | "Timeout"
  | "WebPage"
  | "ContentType"
  | "TooLarge"
  | "Body";
